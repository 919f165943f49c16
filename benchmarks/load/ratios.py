"""The ratios and figures that have a reach, from a measurement's document."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from benchmarks.load.cells import (
    DEFAULT,
    ENGINE,
    FROM_FILES,
    FRONT,
    HALF,
    LITSERVE,
    MANY,
    ONE,
    TANGENT,
    VIT,
    Cell,
)

Document = dict[str, Any]
FULL_LOAD = "64"  # clients
NO_GROWTH = 0.02  # of all processes' memory, over half of the requests
BESIDE = {  # part of the extras -> its figure, the reach, and a name
    "processor": ("beside_ms", 0.8, "CPU ms of the API a request, beside decoding and forward"),
    "changes": ("late", 0, "answers with a deleted component after its DELETE's answer"),
    "memory": ("growth", NO_GROWTH, "growth of memory over the second half of the requests"),
    "readiness": ("longest", 0.2, "longest wait for `/readyz` under {clients} clients, s"),
}
COMPARED: dict[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True)
class Figure:
    """A figure with its reach; `value` is None where it was not measured.

    `front` is the figure of the bare front in the same run, a service that does nothing else.
    `bound` of a ratio is what the cores leave to a service that spends no more than the reach of it
    on a request, beside decoding and the forward pass, while no core is ever idle. That of the
    processor time is what the bare front takes, and the threads and messages that give decoding
    and the engine to other processes.
    """

    name: str
    value: float | None
    sign: str
    reach: float
    front: float | None = None
    bound: float | None = None

    @property
    def row(self) -> list[str]:
        """Name, value, reach, verdict, bare front and bound."""
        verdict = "not measured"
        if self.value is not None:
            reached = COMPARED[self.sign](self.value, self.reach)
            verdict = "reached" if reached else "not reached"
        numbers = ("" if each is None else f"{each:.3g}" for each in (self.front, self.bound))
        value = "–" if self.value is None else f"{self.value:.3g}"
        return [self.name, value, f"{self.sign} {self.reach:g}", verdict, *numbers]


def figures(document: Document) -> list[Figure]:
    """Return every figure with a reach."""
    vit, default = (
        {
            key: Cell(space.name, TANGENT, selection, load=FULL_LOAD)
            for key, selection in (("one", ONE), ("many", MANY))
        }
        for space in (VIT, DEFAULT)
    )
    bare, plain_bare = Cell("vit", ENGINE), Cell("default", ENGINE)
    lit = {name: Cell(name, LITSERVE, load=FULL_LOAD) for name in ("vit", "default")}
    large = Cell("default", TANGENT, ONE, images=DEFAULT.large, load="8")
    ratios = [
        ("ViT-Ti, 64 clients, one composition / bare engine", vit["one"], bare, 0.95),
        ("ViT-Ti, 64 clients, 32 compositions / bare engine", vit["many"], bare, 0.90),
        ("ViT-Ti, 64 clients, one composition / LitServe", vit["one"], lit["vit"], 1.1),
        ("ViT-Ti, 64 clients, 32 compositions / LitServe", vit["many"], lit["vit"], 1.05),
        ("default, 64 clients, one composition / bare engine", default["one"], plain_bare, 0.45),
        ("default, 64 clients, 32 compositions / bare engine", default["many"], plain_bare, 0.40),
        ("default, 64 clients, one composition / LitServe", default["one"], lit["default"], 1.5),
        ("default, 64 clients, 32 compositions / LitServe", default["many"], lit["default"], 1.5),
        ("default, requests of 64 images, 8 clients / bare engine", large, plain_bare, 0.85),
    ]
    found = []
    for name, of, by, reach in ratios:
        value = _ratio(document, "images_per_second", of, by)
        of_front = Cell(of.space, FRONT, images=of.images, load=of.load)
        bare_front = _ratio(document, "images_per_second", of_front, by)
        found.append(Figure(name, value, "≥", reach, bare_front, _bound(document, of, by)))
    for space in ("default", "vit"):
        value, bare_front = (
            _patience(document, Cell(space, *of)) for of in ((TANGENT, ONE), (FRONT,))
        )
        name = f"{space}: p99 at half load / latency of one client (median)"
        found.append(Figure(name, value, "≤", 3, bare_front))
    return found + _others(document)


def _bound(document: Document, of: Cell, by: Cell) -> float | None:
    """Return the most that a ratio of images a second can be, by the processor time of an image.

    The bare engine shows how many cores there are to keep busy, and from files how much of them
    decoding and the forward pass take.
    """
    readings = document["readings"]
    cells = Cell(of.space, ENGINE), Cell(of.space, FROM_FILES), by
    bounds = []
    for bare, files, other in zip(*(readings.get(c.name, ()) for c in cells), strict=False):
        cores = bare["images_per_second"] * bare["cpu_ms"]  # milliseconds in a second
        least = files["cpu_ms"] + BESIDE["processor"][1] / of.images
        bounds.append(cores / least / other["images_per_second"])
    return median(bounds) if bounds else None


def _patience(document: Document, of: Cell) -> float | None:
    """Return the p99 at half load in units of what one client waits."""
    at_half, alone = (replace(of, load=load) for load in (HALF, "1"))
    return _ratio(document, "p99", at_half, alone, below="p50")


def _others(document: Document) -> list[Figure]:
    found = []
    for part, (key, reach, name) in BESIDE.items():
        measured = document["extras"].get(part, {"clients": 300})
        front, parts = measured.get("front_beside_ms"), measured.get("parts_ms")
        bound = front + parts["threads"] + parts["messages"] if front and parts else None
        figure = Figure(name.format_map(measured), measured.get(key), "≤", reach, front, bound)
        found.append(figure)
    total = sum(errors(document).values())
    return [*found, Figure("errors in all of it", float(total), "≤", 0)]


def _ratio(
    document: Document, what: str, of: Cell, by: Cell, *, below: str | None = None
) -> float | None:
    """Return the median over the rounds of one reading divided by another of the same round."""
    readings = document["readings"]
    pairs = zip(readings.get(of.name, ()), readings.get(by.name, ()), strict=False)
    values = [(a.get(what), b.get(below or what)) for a, b in pairs]
    found = [a / b for a, b in values if a is not None and b]
    return median(found) if found else None


def errors(document: Document) -> dict[str, int]:
    """Return all errors of this service by kind; those of others are in their rows."""
    own = (
        reading
        for name, found in document["readings"].items()
        if f", {TANGENT}, " in name
        for reading in found
    )
    total: dict[str, int] = {}
    for each in (*own, *document["extras"].values()):
        for kind, count in each.get("errors", {}).items():
            total[kind] = total.get(kind, 0) + count
    return total
