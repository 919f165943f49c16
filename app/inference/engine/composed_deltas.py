"""Composed deltas: made once from their components' files, and kept within a number of bytes.

All who need one delta at the same time wait for one composition of it; nobody else waits, and no
deletion does. A delta that a deletion overtakes while it is composed is not kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from threading import Lock

import tangent
from app.inference.engine.makings import Makings
from app.inference.engine.metrics import EngineMetrics
from app.inference.models import Source
from app.inference.shared_calls import SharedCalls
from tangent.composition.incremental import IncrementalComposition

Parts = Sequence[tuple[Source, float | None]]
Key = tuple[str, str, tuple[tuple[str, float | None], ...]]
COPIES = 2  # of a delta's numbers: its own, and those that the space makes ready for its passes


def key_of(space: tangent.Space, parts: Parts, rule: str) -> Key:
    """Return exactly the values that determine a composed delta."""
    found = [(source.sha256, weight) for source, weight in parts]
    return space.fingerprint, rule, tuple(sorted(found, key=str))


def _shas(key: Key) -> set[str]:
    return {sha for sha, _ in key[2]}


def size_of(delta: tangent.Delta) -> int:
    """Return the bytes that a kept delta takes."""
    return COPIES * sum(value.nbytes for value in delta.tensors().values())


class ComposedDeltas:
    """The deltas of the compositions that were asked for last, for any number of threads."""

    def __init__(
        self, load: Callable[[Source], tangent.Component], most_bytes: int, metrics: EngineMetrics
    ) -> None:
        """`load` returns the component of a source, mapped from its file."""
        self._most_bytes, self._metrics = most_bytes, metrics
        self._incremental = IncrementalComposition(load)
        self._composing, self._lock = Lock(), Lock()
        self._calls = SharedCalls[tangent.Delta]()
        self._deltas: OrderedDict[Key, tangent.Delta] = OrderedDict()
        self._bytes = 0
        self._makings = Makings()

    def get(self, space: tangent.Space, parts: Parts, rule: str) -> tangent.Delta:
        """Return the composed delta, from memory or from the components' files."""
        key = key_of(space, parts, rule)
        with self._lock:
            delta = self._deltas.get(key)
            if delta is not None:
                self._deltas.move_to_end(key)
                self._metrics.cache_hits.inc()
                return delta
        self._metrics.cache_misses.inc()
        return self._calls.run((id(space), key), lambda: self._composed(space, parts, rule, key))

    def has(self, space: tangent.Space, parts: Parts, rule: str) -> bool:
        """Return whether the delta is in memory."""
        with self._lock:
            return key_of(space, parts, rule) in self._deltas

    def _composed(self, space: tangent.Space, parts: Parts, rule: str, key: Key) -> tangent.Delta:
        with self._lock:
            making = self._makings.begin(_shas(key))
        with self._composing:
            delta = self._incremental.compose(space, parts, rule)
        with self._lock:
            if not making.is_overtaken:
                self._keep(key, delta)
        return delta

    def _keep(self, key: Key, delta: tangent.Delta) -> None:
        if key in self._deltas or size_of(delta) > self._most_bytes:
            return
        self._deltas[key] = delta
        self._bytes += size_of(delta)
        while self._bytes > self._most_bytes:
            self._drop([next(iter(self._deltas))])

    def forget(self, shas: Collection[str]) -> bool:
        """Drop every delta with one of these components; return whether there was any.

        The components are subtracted from the sums that the next composition begins with, so their
        files have to be there still.
        """
        gone = set(shas)
        with self._lock:
            self._makings.overtake(gone)
            found = [key for key in self._deltas if gone & _shas(key)]
            self._drop(found)
        self._incremental.forget(gone)
        return bool(found)

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether anything that is or will be kept has one of these components in it."""
        gone = set(shas)
        with self._lock:
            found = any(gone & _shas(key) for key in self._deltas) or self._makings.have(gone)
        return found or self._incremental.holds(gone)

    def clear(self) -> bool:
        """Drop everything; return whether there was any delta."""
        with self._lock:
            self._makings.overtake_all()
            found = list(self._deltas)
            self._drop(found)
        self._incremental.clear()
        return bool(found)

    def _drop(self, keys: list[Key]) -> None:
        for key in keys:
            self._bytes -= size_of(self._deltas.pop(key))
        self._metrics.cache_evictions.inc(len(keys))
