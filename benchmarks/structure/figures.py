"""Figures of the structure, each next to its reach."""

from pathlib import Path
from typing import NamedTuple

from benchmarks.structure.calls import Trip, Trips
from benchmarks.structure.rooms import Rooms, below, children, rooms
from benchmarks.structure.sources import PRODUCT, functions, lines, modules

OPENED = ("app", "tangent")  # the packages whose own rooms are on the second level
# A migration is as long as its tables, and left out.
WITH_FUNCTIONS = ("app", "tangent", "tangent_composer", "training_worker")
LISTED = 5  # of the longest functions


class Figure(NamedTuple):
    """Numbers under one name, and for each the most that it may be, a word, or nothing."""

    name: str
    values: tuple[int, ...]
    reach: tuple[int | str, ...] = ()

    @property
    def is_reached(self) -> bool | None:
        """True if no number is over its bound; None without bounds."""
        pairs = list(zip(self.values, self.reach, strict=False))
        bounds = [value <= most for value, most in pairs if isinstance(most, int)]
        return all(bounds) if bounds else None

    @property
    def row(self) -> list[str]:
        """The cells of its row."""
        values = " · ".join(map(str, self.values))
        reach = " · ".join(map(_bound, self.reach))
        return [self.name, values, reach, {True: "yes", False: "no", None: ""}[self.is_reached]]


def figures(root: Path, trips: Trips | None = None) -> list[Figure]:
    """Return the figures read from the source, and between them those of the traced requests."""
    loose, all_rooms, arrows, _, upward, circles = _counts(rooms(root, "tangent"))
    beside = len(_inner(root, "app.store")), len(_inner(root, "app.api"))
    return [
        Figure(
            "`tangent`: loose modules · rooms · arrows · arrows upward · circles",
            (loose, all_rooms, arrows, upward, circles),
            (6, 11, 30, 0, 0),
        ),
        Figure("modules of `app/store` · of `app/api` beside `http/`", beside, (20, "nouns only")),
        Figure("rooms on the first two levels", (first_levels(root),), (35,)),
        *(_requests(*trips) if trips else ()),
        Figure("longest function, lines", (functions(root, WITH_FUNCTIONS)[0].lines,), (40,)),
        Figure(
            "lines of " + " · ".join(f"`{package}`" for package in PRODUCT),
            tuple(lines(root, [package]) for package in PRODUCT),
        ),
    ]


def _requests(prediction: Trip, first: Trip, deletion: Trip) -> tuple[Figure, ...]:
    return (
        Figure(
            "`DELETE` of one image: modules · hops", (deletion.modules, deletion.hops), (30, 100)
        ),
        Figure("prediction: modules · hops", (prediction.modules, prediction.hops), (25, 80)),
        Figure("the first one after a change: modules · hops", (first.modules, first.hops)),
    )


def packages(root: Path) -> list[list[str]]:
    """Return a row of counts for each package that has rooms of its own."""
    named = ("tangent", "app", "app.api", "app.store")
    return [[f"`{name}`", *map(str, _counts(rooms(root, name)))] for name in named]


def remarks(root: Path) -> list[str]:
    """Return lines that name the longest functions, the modules of app/api and the circles."""
    found = ["longest functions:"]
    for function in functions(root, WITH_FUNCTIONS)[:LISTED]:
        found.append(f"  {function.lines} {function.module}.{function.name}")
    found.append("modules of app/api: " + " ".join(_inner(root, "app.api")))
    for package in ("tangent", "app"):
        for circle in sorted(map(sorted, rooms(root, package).circles)):
            found.append(f"circle in {package}: " + " ".join(circle))
    return found


def first_levels(root: Path) -> int:
    """Return the number of top-level packages, with the rooms of OPENED in their places."""
    tops = [folder.name for folder in root.iterdir() if any(folder.glob("*.py"))]
    tops = [name for name in tops if not name.startswith(".")]
    return sum(len(children(root, name)) if name in OPENED else 1 for name in tops)


def _bound(most: int | str) -> str:
    if isinstance(most, str):
        return most
    return f"≤ {most}" if most else "none"


def _counts(found: Rooms) -> tuple[int, ...]:
    storeys = 1 + max(found.storeys.values())
    numbers = (len(found.loose), len(found.names), len(found.arrows), storeys)
    return (*numbers, len(found.upward), len(found.circles))


def _inner(root: Path, package: str) -> list[str]:
    """Return the names of the modules at any depth of a package, beside those of its `http`."""
    inner = [
        name
        for name, file in modules(root, package).items()
        if file.name != "__init__.py" and not below(name, f"{package}.http")
    ]
    return [name.removeprefix(f"{package}.") for name in inner]
