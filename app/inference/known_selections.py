"""Known selections: what requests have selected, kept until a commit of any process changes it.

A selection is kept with the epoch and the version that it was read at, and used again as long as
both are the present ones. So a prediction whose selection is known asks the database nothing.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

from sqlalchemy.orm import Session, sessionmaker

from app.access.callers import Caller
from app.database import selection_version
from app.database.selection_version import KnownVersion
from app.database.sessions import transaction
from app.datasets.privacy_ledger import total_of
from app.inference.lease import Lease
from app.server.event_loop import OncePerTurn
from app.store import compositions
from app.store.compositions import Selection
from app.store.lineage import with_ancestors
from tangent_composer.schemas.predictions import SelectionQuery

MAX_SELECTIONS = 1_000
MAX_MEMBERS = 20_000  # of all kept selections together


class Kept(NamedTuple):
    """A selection, and when it was read."""

    epoch: int
    version: int
    selection: Selection


class KnownSelections:
    """The selections of one process, which it reads under its lease."""

    def __init__(self, lease: Lease, version: KnownVersion) -> None:
        self.lease, self._latest_version = lease, OncePerTurn(version.latest)
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._members = 0  # of all kept selections

    def find(self, reading: sessionmaker[Session], query: SelectionQuery) -> tuple[int, Selection]:
        """Return the epoch as of which to answer, and the query's selection.

        Raises:
            NotReady: `lease_expired`.
            Problem: as `compositions.resolve`.
        """
        epoch, key = self.lease.held(), _key(reading, query)
        known = self._known(epoch, key)
        if known is not None:
            return epoch, known
        with transaction(reading) as session:
            # Before the rows: of a change in between, the version is then too old, not too new.
            version = selection_version.read(session)
            selection = resolve(session, query)
        self._keep(key, Kept(epoch, version, selection))
        return epoch, selection

    def known(
        self, reading: sessionmaker[Session], query: SelectionQuery
    ) -> tuple[int, Selection] | None:
        """Return what `find` would, if that takes no time; else None."""
        epoch = self.lease.epoch
        found = None if epoch is None else self._known(epoch, _key(reading, query))
        return None if epoch is None or found is None else (epoch, found)

    def _known(self, epoch: int, key: Hashable) -> Selection | None:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept.epoch != epoch or kept.version != self._latest_version():
            return None
        return kept.selection

    def forget(self) -> None:
        """Read every selection anew: something that one names is not there."""
        with self._lock:
            self._kept.clear()
            self._members = 0

    def _keep(self, key: Hashable, kept: Kept) -> None:
        with self._lock:
            self._drop(key)
            self._kept[key] = kept
            self._members += len(kept.selection.members)
            while len(self._kept) > MAX_SELECTIONS or self._members > MAX_MEMBERS:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._members -= len(dropped.selection.members)


def resolve(session: Session, query: SelectionQuery) -> Selection:
    """Return the components, weights and rule that the request names."""
    parts = None
    if query.components is not None:
        parts = [(part.id, part.weight) for part in query.components]
    found = compositions.resolve(session, query.space, query.composition, parts, query.rule)
    rows = [row for row, _ in found.members]
    if not any(row.privacy or row.derived for row in rows):
        return found
    return replace(found, privacy=total_of(session, with_ancestors(session, rows)))


def _key(reading: sessionmaker[Session], query: SelectionQuery) -> Hashable:
    """Return what decides about the selection: the query, and the spaces that the caller sees."""
    caller: Caller | None = reading.kw["info"].get("caller")
    sees = None if caller is None or caller.is_admin else caller.id
    given = query.components
    parts = None if given is None else tuple((part.id, part.weight) for part in given)
    return sees, query.space, query.composition, parts, query.rule
