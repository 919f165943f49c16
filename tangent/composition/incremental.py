"""Incremental composition: each composition starts from the sums kept of the last ones.

A composition that differs by a few components from the last of its space costs these components'
bytes, however many it has in all; the result has the same bytes as one composed from nothing.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.components.source import Source
from tangent.composition.compose import compose, divisor, lambdas
from tangent.composition.delta_sum import DeltaSum
from tangent.composition.discriminant import DiscriminantSums
from tangent.composition.joint import JointSums
from tangent.errors import Overflow
from tangent.spaces.space import Space
from tangent.vocabulary import OF_STATISTICS

KEPT = 2  # sums: 8 bytes a parameter each (16 in float64), or an entry of G for sums of statistics
MIN_COMPONENTS = 3  # components: fewer are composed as fast from nothing


Load = Callable[[Source], Component]
Members = Counter[tuple[Source, float]]
Sums = DeltaSum | JointSums


class IncrementalComposition:
    """Composes by any rule; keeps the sums of the last few spaces. One thread at a time."""

    def __init__(self, load: Load) -> None:
        """`load` returns the component of a source, mapped; no call keeps a component."""
        self._load = load
        self._held: OrderedDict[tuple[str, str], tuple[Members, Sums]] = OrderedDict()

    def compose(
        self, space: Space, parts: Sequence[tuple[Source, float | None]], rule: str
    ) -> Delta:
        """Return the delta that `tangent.compose` gives."""
        weights = lambdas([weight for _, weight in parts], rule)
        of_statistics = rule in OF_STATISTICS
        kept = not of_statistics or (space.joint_is_exact and set(weights) == {1.0})
        pairs = zip(parts, weights, strict=True)
        wanted: Members = Counter((source, weight) for (source, _), weight in pairs if weight)
        if not kept or wanted.total() < MIN_COMPONENTS:
            found = [(self._load(source), weight) for source, weight in parts]
            return compose(space, found, rule, shas=[source.sha256 for source, _ in parts])
        key = space.fingerprint, rule if of_statistics else "deltas"
        members, sums = self._held.pop(key, (Counter(), None))
        delta = None
        if sums is not None and ((wanted - members) + (members - wanted)).total() < wanted.total():
            delta = self._update(space, sums, members, wanted, divisor(rule, len(parts)))
        if sums is None or delta is None:
            added = list(self._loaded(space, wanted))
            if of_statistics:
                sums = JointSums(space) if rule == "joint" else DiscriminantSums(space)
                try:
                    delta = sums.change(added)
                except Overflow:  # the delta is right, but its sums cannot be changed
                    return compose(space, added, rule, shas=_hashes(wanted))
            else:
                sums = DeltaSum(space.readout_width)
                delta = sums.change(added, divisor=divisor(rule, len(parts)))
        self._held[key] = wanted, sums
        if len(self._held) > KEPT:
            self._held.popitem(last=False)
        return delta

    def forget(self, shas: Collection[str]) -> None:
        """Take components out of the sums, while their files still exist.

        Sums from which a component cannot be taken out are dropped.
        """
        for key, (members, sums) in list(self._held.items()):
            kept = Counter({each: n for each, n in members.items() if each[0].sha256 not in shas})
            if kept == members:
                continue
            del self._held[key]
            if kept.total() >= MIN_COMPONENTS and self._update(None, sums, members, kept, 1.0):
                self._held[key] = kept, sums

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether any of the held sums has one of these components in it."""
        gone = set(shas)
        return any(gone & set(_hashes(members)) for members, _ in self._held.values())

    def clear(self) -> None:
        """Drop all sums."""
        self._held.clear()

    def _update(
        self, space: Space | None, sums: Sums, members: Members, wanted: Members, by: float
    ) -> Delta | None:
        """Change the sums to the wanted members; return None where that failed for any reason.

        A removed component's file may be gone or damaged, or have another precision. The wanted
        members are then composed from nothing, which reports a fault of any of them.
        """
        try:
            added = list(self._loaded(space, wanted - members))
            return sums.change(added, list(self._loaded(space, members - wanted)), divisor=by)
        except Exception:
            return None

    def _loaded(self, space: Space | None, members: Members) -> Iterator[tuple[Component, float]]:
        for source, weight in members.elements():
            component = self._load(source)
            if space is not None:
                space.check(component)
            yield component, weight


def _hashes(members: Members) -> list[str]:
    return [source.sha256 for source, _ in members.elements()]
