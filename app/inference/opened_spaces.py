"""Opened spaces, by their rows, and the fault of every space that does not open as it was.

An upgrade, or other weights under the same name, may change the numbers that a space's components
were trained for. Such a space answers nothing here, and whatever needs no answers goes on. It is
tried again after RETRY_SECONDS, as its weights may be back.

    facts = spaces.of(row)                          opened, or the reason why it does not open
    pixels = spaces.pixels(row, files, budget)      as its geometry makes them of image files
    future = spaces.decoding.pixels(file, …)        the same for a small one, with other requests'
    passed = engine.run(spaces.model(row, members, rule), pixels)
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NamedTuple

import numpy as np

from app.database.tables import Component, Space
from app.images.budget import Budget
from app.images.decoder import decoder_of
from app.images.image_files import BadImage
from app.images.shared_orders import SharedOrders
from app.images.shares import Shares
from app.inference.models import Model, OpenedSpace, Source, SpaceKey
from app.inference.space_cache import SpaceCache
from app.settings import Settings
from app.store import spaces
from app.store.spaces import SpaceUnavailable
from tangent.vocabulary import PrecisionName

RETRY_SECONDS = 60

Members = Sequence[tuple[Component, float | None]]
Parts = tuple[tuple[Source, float | None], ...]  # of a Model
Status = Literal["ready", "unavailable", "not_opened"]

log = logging.getLogger(__name__)


def source_of(row: Component) -> Source:
    """Return the place of a component's file."""
    return Source(row.blob_key or "", str(row.sha256))


def parts_of(members: Members) -> Parts:
    """Return the parts of the model of these components."""
    return tuple((source_of(row), weight) for row, weight in members)


class Held(NamedTuple):
    """An opened space in memory, and the arguments by which it has opened."""

    key: SpaceKey
    space: OpenedSpace


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
    """The properties of opened spaces, and the faults of others, by their rows."""

    def __init__(self, open_: Callable[[SpaceKey], OpenedSpace], settings: Settings) -> None:
        """`open_` opens a space from its weights as they are now."""
        self._cache = SpaceCache[OpenedSpace](open_)
        self._precision, self._decoder = settings.precision, decoder_of(settings)
        self.decoding, self.shares = SharedOrders(self._decoder), Shares()
        self._faults: dict[str, Fault] = {}  # by the space's name
        self._seen: dict[tuple[str, str], OpenedSpace] = {}  # by names and fingerprints

    def open(self, backbone: str, scope: str, declared: Sequence[str]) -> OpenedSpace:
        """Return the opened space, from memory if it is one of the last few."""
        return self._cache.open(SpaceKey(backbone, scope, tuple(declared), self._precision))

    def of(self, row: Space) -> OpenedSpace:
        """Return the opened space of this row.

        Raises:
            SpaceUnavailable: `space_changed` or `space_unavailable`.
        """
        return self.opened(row).space

    def key(self, row: Space) -> SpaceKey:
        """Return the arguments by which the row's space has opened.

        Raises:
            SpaceUnavailable: as `of`.
        """
        return self.opened(row).key

    def opened(self, row: Space) -> Held:
        """Return the row's space, opened if it is not in memory.

        Raises:
            SpaceUnavailable: as `of`.
        """
        held = self.held(row)
        if held is None:
            key = self._key(row)
            held = Held(key, self._opened_again(row, key))
            self._note_opened(row, held.space)
        return held

    def held(self, row: Space) -> Held | None:
        """Return the row's space if it is in memory; this takes no time."""
        key = self._key(row)
        space = self._cache.held(key)
        if space is None or space.fingerprint != row.fingerprint:
            return None
        self._note_opened(row, space)
        return Held(key, space)

    def model(self, row: Space, members: Members, rule: str) -> Model:
        """Return the model of these components.

        Raises:
            SpaceUnavailable: as `of`.
        """
        return Model(self.key(row), parts_of(members), rule)

    def pixels(
        self, row: Space, files: Sequence[bytes], budget: Budget
    ) -> list[np.ndarray | BadImage]:
        """Return what the space takes of each image file, or what is wrong with it.

        Raises:
            SpaceUnavailable: as `of`.
            NotReady: as `Decoder`.
        """
        return self._decoder.pixels(files, self.of(row).geometry, budget)

    def check_available(self, row: Space) -> None:
        """Check that the space is not known to be unavailable; opens nothing.

        Raises:
            SpaceUnavailable: as `of`.
        """
        fault = self.fault(row)
        if fault is not None:
            raise fault.error()

    def _key(self, row: Space) -> SpaceKey:
        declared = tuple(row.declared_labels)
        return SpaceKey(row.backbone, row.scope, declared, self._precision, row.fingerprint)

    def probe(self, row: Space, open_: Callable[[SpaceKey], OpenedSpace]) -> None:
        """Note whether the space, which was not needed yet, opens as its row says.

        `open_` keeps nothing in memory, so that what answers stays there.
        """
        if self.status(row) == "not_opened":
            key = self._key(row)
            try:
                self._note_opened(row, spaces.open_row(row, lambda: open_(key)))
            except SpaceUnavailable as error:
                self._note(row, error)

    def _opened_again(self, row: Space, key: SpaceKey) -> OpenedSpace:
        """Open the space past what is in memory, which is older than the row or the weights."""
        fault = self.fault(row)
        if fault and monotonic() < fault.retry_at:
            raise fault.error()
        self._cache.drop(key)
        try:
            return spaces.open_row(row, lambda: self._cache.open(key))
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

    def license(self, row: Space) -> str | None:
        """Return the licence of the weights, if the space has opened here and they have one."""
        opened = self._seen.get((row.name, row.fingerprint))
        return None if opened is None else opened.license

    def precision(self, row: Space) -> PrecisionName | None:
        """Return the number format of answers, if the space has opened here."""
        opened = self._seen.get((row.name, row.fingerprint))
        return None if opened is None else opened.precision

    def forget(self, name: str) -> None:
        """Forget what was found of a space that is deleted."""
        self._faults.pop(name, None)
        for each in [each for each in list(self._seen) if each[0] == name]:
            self._seen.pop(each, None)

    def faulty(self) -> dict[str, str]:
        """Return the fingerprints, by name, of spaces that have not opened as their rows say."""
        return {name: fault.fingerprint for name, fault in list(self._faults.items())}

    def count_unavailable(self) -> int:
        """Return the number of spaces that have not opened as their rows say."""
        return len(self._faults)

    def close(self) -> None:
        """Forget the spaces; end what decodes for them."""
        self._cache.close()
        self.decoding.close()

    def _note_opened(self, row: Space, space: OpenedSpace) -> None:
        self._faults.pop(row.name, None)
        self._seen[row.name, row.fingerprint] = space

    def _note(self, row: Space, error: SpaceUnavailable) -> None:
        error.extra["retry_after"] = RETRY_SECONDS
        known = self.fault(row)
        if known is None or known.reason != error.detail:
            log.warning("space %r is unavailable: %s", row.name, error.detail)
        self._faults[row.name] = Fault(
            row.fingerprint, error.code, error.detail, monotonic() + RETRY_SECONDS
        )
        self._seen.pop((row.name, row.fingerprint), None)
