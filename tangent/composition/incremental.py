"""Incremental composition: each composition starts from the sums kept of the last ones.

A composition that differs by a few components from the last of its space costs these components'
bytes, however many it has in all; the result has the same bytes as one composed from nothing.

Deltas of a space on another device than the processor are summed there, from components that stay
there between compositions (`resident`), and lie there. The bytes are those of the processor.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from threading import Lock

import torch

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.components.source import Source
from tangent.composition.compose import compose, divisor, lambdas
from tangent.composition.delta_sum import DeltaSum
from tangent.composition.discriminant import DiscriminantSums
from tangent.composition.exact_sum import HOST, summing_device
from tangent.composition.joint import JointSums
from tangent.composition.resident import ResidentComponents
from tangent.errors import Overflow
from tangent.spaces.space import Space
from tangent.vocabulary import OF_STATISTICS

KEPT = 2  # sums: 8 bytes a parameter each (16 in float64), or an entry of G for sums of statistics
MIN_COMPONENTS = 3  # components: fewer are composed as fast from nothing
GUESTS = 4  # components on the device at a time that have no room to stay there

log = logging.getLogger(__name__)
Load = Callable[[Source], Component]
Members = Counter[tuple[Source, float]]
Sums = DeltaSum | JointSums
Key = tuple[str, str]


class IncrementalComposition:
    """Composes by any rule; keeps the sums of the last few spaces.

    One thread composes at a time. Others forget meanwhile, and do not wait for it: what is composed
    has the bytes of its components all the same, and its sums are not kept if one is forgotten. On
    a device they wait, as components that are forgotten there are overwritten.
    """

    def __init__(self, load: Load, resident: ResidentComponents | None = None) -> None:
        """`load` returns the component of a source, mapped.

        No call keeps a component of the processor's memory; `resident` keeps some of a device's.
        """
        self._load = load
        self._resident = ResidentComponents() if resident is None else resident
        self._held: OrderedDict[Key, tuple[Members, Sums]] = OrderedDict()
        self._using_device = Lock()  # taken before the other one
        self._lock = Lock()  # of what is held, and of the two below
        self._composing: Members = Counter()
        self._is_overtaken = False

    def compose(
        self, space: Space, parts: Sequence[tuple[Source, float | None]], rule: str
    ) -> Delta:
        """Return the delta that `tangent.compose` gives; its directions lie where it was summed."""
        summed_there = space.suffix is not None and rule not in OF_STATISTICS
        device = summing_device(space.device, space.dtype) if summed_there else HOST
        if device != HOST:
            try:
                with self._using_device:
                    return self._composed(space, parts, rule, device)
            except torch.OutOfMemoryError:
                log.warning("composing on the processor: %s has no memory left", device)
            self.clear()
        return self._composed(space, parts, rule, HOST)

    def _composed(
        self,
        space: Space,
        parts: Sequence[tuple[Source, float | None]],
        rule: str,
        device: torch.device,
    ) -> Delta:
        weights = lambdas([weight for _, weight in parts], rule)
        of_statistics = rule in OF_STATISTICS
        kept = not of_statistics or (space.joint_is_exact and set(weights) == {1.0})
        pairs = zip(parts, weights, strict=True)
        wanted: Members = Counter((source, weight) for (source, _), weight in pairs if weight)
        if not kept or wanted.total() < MIN_COMPONENTS:
            beside = _hashes(wanted)
            found = [(self._component(source, device, beside), weight) for source, weight in parts]
            shas = [source.sha256 for source, _ in parts]
            return compose(space, found, rule, shas=shas, device=device)
        key = space.fingerprint, rule if of_statistics else "deltas"
        members, sums = self._begin(key, wanted)
        delta = None
        if sums is not None and ((wanted - members) + (members - wanted)).total() < wanted.total():
            delta = self._update(space, sums, members, wanted, divisor(rule, len(parts)))
        if sums is None or delta is None:
            added = self._loaded(space, wanted, device, _hashes(wanted))
            if of_statistics:
                listed = list(added)
                sums = JointSums(space) if rule == "joint" else DiscriminantSums(space)
                try:
                    delta = sums.change(listed)
                except Overflow:  # the delta is right, but its sums cannot be changed
                    return compose(space, listed, rule, shas=_hashes(wanted))
            else:
                sums = DeltaSum(space.readout_width, device=device)
                delta = _changed(sums, added, [], divisor(rule, len(parts)))
        self._keep(key, wanted, sums)
        return delta

    def _begin(self, key: Key, wanted: Members) -> tuple[Members, Sums | None]:
        """Return the sums to begin with and their members, which nobody else uses from now on."""
        with self._lock:
            self._composing, self._is_overtaken = wanted, False
            return self._held.pop(key, (Counter(), None))

    def _keep(self, key: Key, members: Members, sums: Sums) -> None:
        with self._lock:
            self._composing = Counter()
            if not self._is_overtaken:
                self._held[key] = members, sums
                if len(self._held) > KEPT:
                    self._held.popitem(last=False)

    def forget(self, shas: Collection[str]) -> None:
        """Take components out of the sums, while their files still exist.

        Sums from which a component cannot be taken out are dropped.
        """
        with self._using_device, self._lock:
            if not set(shas).isdisjoint(_hashes(self._composing)):
                self._is_overtaken = True
            for key, (members, sums) in list(self._held.items()):
                kept = Counter({one: n for one, n in members.items() if one[0].sha256 not in shas})
                if kept == members:
                    continue
                del self._held[key]
                if kept.total() >= MIN_COMPONENTS and self._take_out(sums, members - kept):
                    self._held[key] = kept, sums
            self._resident.forget(shas)

    def _take_out(self, sums: Sums, gone: Members) -> bool:
        """Take members out of the sums; return whether that worked, as in `_update`.

        Nothing is solved: a deletion waits for this, and no answer comes of it.
        """
        device = sums.device if isinstance(sums, DeltaSum) else HOST
        try:
            removed = list(self._loaded(None, gone, device))
            if isinstance(sums, DeltaSum):
                sums.change([], removed)
            else:
                sums.add(removed, -1)
        except Exception:
            return False
        return True

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether one of these components is in any of the held sums or on a device."""
        gone = set(shas)
        with self._using_device, self._lock:
            return self._resident.holds(gone) or any(
                gone & set(_hashes(members)) for members, _ in self._held.values()
            )

    def clear(self) -> None:
        """Drop all sums, and all components on devices."""
        with self._using_device, self._lock:
            self._is_overtaken = True
            self._held.clear()
            self._resident.clear()

    def _update(
        self, space: Space, sums: Sums, members: Members, wanted: Members, by: float
    ) -> Delta | None:
        """Change the sums to the wanted members; return None where that failed for any reason.

        A removed component's file may be gone or damaged, or have another precision. The wanted
        members are then composed from nothing, which reports a fault of any of them.
        """
        device = sums.device if isinstance(sums, DeltaSum) else HOST
        try:
            beside = _hashes(members | wanted)
            added = list(self._loaded(space, wanted - members, device, beside))
            removed = list(self._loaded(space, members - wanted, device))
            return _changed(sums, added, removed, by)
        except Exception:
            return None

    def _loaded(
        self,
        space: Space | None,
        members: Members,
        device: torch.device,
        beside: Collection[str] | None = None,
    ) -> Iterator[tuple[Component, float]]:
        for source, weight in members.elements():
            component = self._component(source, device, beside)
            if space is not None:
                space.check(component)
            yield component, weight

    def _component(
        self, source: Source, device: torch.device, beside: Collection[str] | None
    ) -> Component:
        """Return the component as the device reads it fastest.

        `beside`: hashes of components that the same sum needs; None: this one is not to stay there.
        """
        if device == HOST:
            return self._load(source)
        held = self._resident.get(source.sha256)
        if held is not None or beside is None:
            return held or self._load(source)
        return self._resident.placed(source.sha256, self._load(source), device, beside)


def _changed(
    sums: Sums,
    added: Iterable[tuple[Component, float]],
    removed: Sequence[tuple[Component, float]],
    by: float,
) -> Delta:
    """Return the delta of changed sums; GUESTS parts at most are brought to a device at a time."""
    if not isinstance(sums, DeltaSum) or sums.device == HOST:
        return sums.change(list(added), removed, divisor=by)
    *runs, last = _runs(added)
    for run in runs:
        sums.change(run)
    return sums.change(last, removed, divisor=by)


def _runs(parts: Iterable[tuple[Component, float]]) -> Iterator[list[tuple[Component, float]]]:
    """Yield the parts in runs, the last of which may be empty."""
    run: list[tuple[Component, float]] = []
    guests = 0
    for part in parts:
        run.append(part)
        guests += any(value.device == HOST for value in part[0].backbone.values())
        if guests == GUESTS:
            yield run
            run, guests = [], 0
    yield run


def _hashes(members: Members) -> list[str]:
    return [source.sha256 for source, _ in members.elements()]
