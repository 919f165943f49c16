"""Rooms and the arrows between them.

A room of a package is a module or a package directly in it, its `__init__` left out. An arrow leads
from a room to another that it imports. What the package's own `__init__` imports is the package's
face and no arrow; a name that a room imports from the face leads to the room that has it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.structure.sources import imports, modules

Arrow = tuple[str, str]


def rooms(root: Path, package: str) -> "Rooms":
    """Return the rooms of a package."""
    return Rooms.of(root, children(root, package))


def children(root: Path, package: str) -> list[str]:
    """Return the dotted names of the modules and packages directly in a package."""
    depth = package.count(".") + 1
    inner = (name.split(".") for name in modules(root, package) if name != package)
    return sorted({".".join(parts[: depth + 1]) for parts in inner})


def _targets(root: Path, room: str, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the rooms that a room imports from, itself included."""
    face = _face(root, room.rpartition(".")[0])
    for module, file in modules(root, room).items():
        for _, name in imports(module, file):
            for shown in (name, face.get(name, "")):
                found = next((other for other in names if below(shown, other)), None)
                if found:
                    yield found
                    break


def _face(root: Path, package: str) -> dict[str, str]:
    """Return the names that a package's `__init__` imports, with where it has them from."""
    if not package:
        return {}
    found = imports(package, modules(root, package)[package])
    return {f"{package}.{alias}": name for alias, name in found}


def below(name: str, part: str) -> bool:
    """Return whether a dotted name is that of a part of the code or lies in it."""
    return name == part or name.startswith(f"{part}.")


@dataclass(frozen=True)
class Rooms:
    """Rooms by their dotted names, which of them are single modules, and their arrows."""

    names: tuple[str, ...]
    loose: tuple[str, ...]
    arrows: frozenset[Arrow]

    @classmethod
    def of(cls, root: Path, names: Iterable[str]) -> "Rooms":
        """Read the arrows between parts of the code, none of which lies in another."""
        names = tuple(sorted(names))
        loose = tuple(name for name in names if not root.joinpath(*name.split(".")).is_dir())
        arrows = ((room, target) for room in names for target in _targets(root, room, names))
        return cls(names, loose, frozenset((a, b) for a, b in arrows if a != b))

    @cached_property
    def reached(self) -> dict[str, set[str]]:
        """The rooms that arrows lead to from each room, in any number of steps."""
        found: dict[str, set[str]] = {}
        for start in self.names:
            seen: set[str] = set()
            todo = [start]
            while todo:
                here = todo.pop()
                ahead = {b for a, b in self.arrows if a == here} - seen
                seen |= ahead
                todo += ahead
            found[start] = seen
        return found

    def together(self, room: str) -> frozenset[str]:
        """Return the rooms on a circle with this room, itself included."""
        around = {other for other in self.reached[room] if room in self.reached[other]}
        return frozenset(around | {room})

    @property
    def circles(self) -> set[frozenset[str]]:
        """The largest sets of rooms that all lead to one another."""
        return {around for room in self.names if len(around := self.together(room)) > 1}

    @cached_property
    def storeys(self) -> dict[str, int]:
        """The storey of each room: 0 without arrows, else above all that it leads to.

        The rooms of a circle share a storey.
        """
        found: dict[str, int] = {}
        for room in sorted(self.names, key=lambda name: len(self.reached[name] | {name})):
            around = self.together(room)
            ahead = {b for a, b in self.arrows if a in around} - around
            found[room] = 1 + max((found[other] for other in ahead), default=-1)
        return found

    @property
    def upward(self) -> set[Arrow]:
        """The arrows that lead to no lower storey."""
        return {(a, b) for a, b in self.arrows if self.storeys[b] >= self.storeys[a]}

    @property
    def reduced(self) -> set[Arrow]:
        """The arrows without those that other arrows imply; a circle keeps all of its own."""
        return {
            (a, b)
            for a, b in self.arrows
            if b in self.together(a)
            or not any(
                b in self.reached[between]
                for between in self.reached[a] - self.together(a) - self.together(b)
            )
        }
