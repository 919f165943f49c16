"""Opened spaces: the last few in memory, and the fault of every space that does not open as it was.

An upgrade, or other weights under the same name, may change the numbers that a space's components
were trained for. Such a space answers nothing here, and whatever needs no answers goes on. It is
tried again after RETRY_SECONDS, as its weights may be back.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Literal

import tangent
from app.database.tables import Space
from app.inference.shared_calls import SharedCalls
from app.store import spaces
from app.store.spaces import SpaceUnavailable

MAX_OPEN = 4  # opened spaces kept in memory
RETRY_SECONDS = 60

Status = Literal["ready", "unavailable", "not_opened"]
Key = tuple[str, str, tuple[str, ...], str]  # backbone, scope, declared labels, precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """The reason for which a space with this fingerprint does not answer."""

    fingerprint: str
    code: str
    reason: str
    retry_at: float

    def error(self) -> SpaceUnavailable:
        """Return a new problem with this reason."""
        return SpaceUnavailable(self.code, self.reason, retry_after=RETRY_SECONDS)


class OpenedSpaces:
    """Opens spaces; nobody waits for the opening of a space but who needs it."""

    def __init__(self, open_: Callable[..., tangent.Space]) -> None:
        """`open_` opens a space by backbone, scope, declared labels and precision."""
        self._open = open_
        self._spaces: OrderedDict[Key, tangent.Space] = OrderedDict()
        self._faults: dict[str, Fault] = {}  # by the space's name
        self._seen: set[tuple[str, str]] = set()  # names and fingerprints that have opened so
        self._lock, self._openings = Lock(), SharedCalls[tangent.Space]()

    def open(
        self, backbone: str, scope: str, declared: Sequence[str], precision: str
    ) -> tangent.Space:
        """Return the opened space, from memory if it is one of the last few."""
        key = backbone, scope, tuple(declared), precision
        space = self._held(key)
        if space is not None:
            return space
        return self._openings.run(key, lambda: self._opened(key))

    def of(self, row: Space, precision: str) -> tangent.Space:
        """Return the opened space of this row.

        Raises:
            SpaceUnavailable: `space_changed` or `space_unavailable`.
        """
        key = row.backbone, row.scope, tuple(row.declared_labels), precision
        space = self._held(key)
        if space is None or space.fingerprint != row.fingerprint:
            space = self._opened_again(row, key)
        self._faults.pop(row.name, None)
        self._seen.add((row.name, row.fingerprint))
        return space

    def _opened_again(self, row: Space, key: Key) -> tangent.Space:
        """Open the space past what is in memory, which is older than the row or the weights."""
        fault = self.fault(row)
        if fault and monotonic() < fault.retry_at:
            raise fault.error()
        with self._lock:
            self._spaces.pop(key, None)
        try:
            return spaces.open_row(row, lambda: self.open(*key))
        except SpaceUnavailable as error:
            self._note(row, error)
            raise

    def fault(self, row: Space) -> Fault | None:
        """Return the fault that was found when this row's space was last opened, or None."""
        fault = self._faults.get(row.name)
        return fault if fault and fault.fingerprint == row.fingerprint else None

    def status(self, row: Space) -> Status:
        """Return whether the space has opened here as the row says; opens nothing."""
        if self.fault(row) is not None:
            return "unavailable"
        return "ready" if (row.name, row.fingerprint) in self._seen else "not_opened"

    def count_unavailable(self) -> int:
        """Return the number of spaces that have not opened as their rows say."""
        return len(self._faults)

    def close(self) -> None:
        """Release the spaces."""
        with self._lock:
            self._spaces.clear()

    def _opened(self, key: Key) -> tangent.Space:
        space = self._held(key)  # opened by another request in the meantime
        if space is None:
            space = self._open(*key)
            self._hold(key, space)
        return space

    def _held(self, key: Key) -> tangent.Space | None:
        with self._lock:
            space = self._spaces.get(key)
            if space is not None:
                self._spaces.move_to_end(key)
            return space

    def _hold(self, key: Key, space: tangent.Space) -> None:
        with self._lock:
            self._spaces[key] = space
            if len(self._spaces) > MAX_OPEN:
                self._spaces.popitem(last=False)

    def _note(self, row: Space, error: SpaceUnavailable) -> None:
        error.extra["retry_after"] = RETRY_SECONDS
        known = self.fault(row)
        if known is None or known.reason != error.detail:
            log.warning("space %r is unavailable: %s", row.name, error.detail)
        self._faults[row.name] = Fault(
            row.fingerprint, error.code, error.detail, monotonic() + RETRY_SECONDS
        )
        self._seen.discard((row.name, row.fingerprint))
