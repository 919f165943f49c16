"""The parts of a running service, opened once and shared by all its requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Protocol, Self

from sqlalchemy import Engine as SQLEngine
from sqlalchemy.orm import Session, sessionmaker

from app.access.admission import Admission
from app.access.callers import LOCAL, LOCAL_CALLER, SETTINGS, Caller
from app.access.keyring import Keyring
from app.access.known_sessions import KnownSessions
from app.access.session_admission import SessionAdmission
from app.database.audit import Act
from app.database.jobs import Jobs
from app.database.selection_version import KnownVersion, known_version
from app.database.selection_watch import listening
from app.database.sessions import fold_log, open_engine, session_factory, with_info
from app.files.blobs import LocalBlobs
from app.files.component_files import CheckedFiles
from app.images.shares import Share
from app.inference.answering_processes import ProcessRows
from app.inference.deletion_gate import Gate
from app.inference.engines import AnyEngine, opened_engine
from app.inference.known_selections import KnownSelections
from app.inference.lease import Lease
from app.inference.opened_spaces import OpenedSpaces
from app.inference.shared_calls import SharedCalls
from app.inference.space_cards import SpaceCards
from app.passes.bell import Bell
from app.server.metrics import Metrics
from app.server.transfers import Transfers
from app.settings import Settings

MAX_SPACE_OPENINGS = 2
MAX_PREVIEWS = 2

Sessions = sessionmaker[Session]


class Signer(Protocol):
    """The signer of receipts, see app.receipts.signing."""

    @property
    def key_id(self) -> str: ...
    @property
    def public_key(self) -> str: ...
    def sign(self, hash_: str) -> str: ...
    def sign_text(self, text: bytes) -> bytes: ...
    def raw_key(self) -> bytes: ...


@dataclass(frozen=True)
class Parts:
    """Settings, database, files, job queue and engine of one process; and a request's caller."""

    settings: Settings
    metrics: Metrics
    signer: Signer | None  # None: receipts are not signed
    sessions: Sessions  # makes writing sessions
    reading: Sessions  # makes reading sessions, which wait for no writer
    health: Sessions  # makes reading sessions of health checks, which wait for no request
    blobs: LocalBlobs
    jobs: Jobs
    engine: AnyEngine
    spaces: OpenedSpaces
    admission: Admission
    session_admission: SessionAdmission
    cards: SpaceCards
    selections: KnownSelections  # read under the lease, which deletions end
    # One change of a dataset in this process at a time: another one would have to be planned again.
    dataset_changes: Lock = field(default_factory=Lock)
    checked: CheckedFiles = field(default_factory=CheckedFiles)
    verifying: Lock = field(default_factory=Lock)  # one receipt at a time, as it reads many files
    searching: Lock = field(default_factory=Lock)  # one search for an image at a time
    making_again: Lock = field(
        default_factory=Lock
    )  # one component at a time, as it takes a training
    # New spaces that requests open: each takes a thread and memory for as long as its download.
    space_openings: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(MAX_SPACE_OPENINGS)
    )
    # Previews with a dataset: each takes a thread of requests for two passes over its images.
    previewing: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_PREVIEWS))
    # Calibrations by model: all who need one at a time wait for one.
    calibrating: SharedCalls[None] = field(default_factory=SharedCalls)
    passes: Bell = field(default_factory=Bell)  # rings when this process has queued one
    gate: Gate = field(default_factory=Gate)
    transfers: Transfers = field(default_factory=Transfers)
    caller: Caller = LOCAL_CALLER  # of the request that they are bound to

    def bound(self, caller: Caller, act: Act) -> Self:
        """Return the parts for one request: its sessions see for the caller and log the act."""
        made = object.__new__(type(self))  # `replace` would go through all the other fields
        made.__dict__.update(
            self.__dict__,
            caller=caller,
            sessions=with_info(self.sessions, caller=caller, act=act),
            reading=with_info(self.reading, caller=caller),
        )
        return made

    @property
    def lease(self) -> Lease:
        """The right to answer, which deletions by other processes end."""
        return self.selections.lease

    def count_images(self, number: int) -> None:
        """Count images that the request sends through the network.

        Raises:
            TooManyRequests: `rate_limited`.
        """
        self.admission.take_images(self.caller, number)

    def share_of(self, address: str) -> Share:
        """Return the caller's share of decoding; those without a key of their own have an address.

        `address`: of the client.
        """
        has_own_key = self.caller.id not in (LOCAL, SETTINGS)
        return self.spaces.shares.of(self.caller.id if has_own_key else address)

    def count_more_images(self, number: int) -> None:
        """Count images that the answer turned out to need; the caller's next requests wait."""
        self.admission.charge_images(self.caller, number)


@contextmanager
def opened(
    settings: Settings,
    metrics: Metrics,
    signer: Signer | None,
    engine: "AnyEngine | None" = None,
) -> Iterator[Parts]:
    """Yield the parts of these settings; close them after the block, the given engine too."""
    sql, own = open_engine(settings), open_engine(settings)
    try:
        with known_version(settings) as known:
            lease = _lease(settings, own, known)
            with listening(settings, known, lease.renew_soon):
                made = engine or opened_engine(settings, LocalBlobs(settings.data_dir / "blobs"))
                parts = _made(settings, metrics, signer, made, sql, own, known, lease)
                try:
                    yield parts
                finally:
                    parts.admission.keyring.close()
                    parts.spaces.close()
                    parts.cards.forget()
                    parts.engine.close()
                    parts.jobs.close()
    finally:
        own.dispose()
        fold_log(sql)
        sql.dispose()


def _reading(engine: SQLEngine, known: KnownVersion) -> Sessions:
    return with_info(session_factory(engine, read_only=True), known_version=known)


def _lease(settings: Settings, own: SQLEngine, known: KnownVersion) -> Lease:
    rows = ProcessRows(_reading(own, known), session_factory(own))
    return Lease(rows, settings.lease_seconds)


def _made(
    settings: Settings,
    metrics: Metrics,
    signer: Signer | None,
    engine: AnyEngine,
    sql: SQLEngine,
    own: SQLEngine,
    known: KnownVersion,
    lease: Lease,
) -> Parts:
    reading = _reading(sql, known)
    sessions = with_info(session_factory(sql), known_version=known)
    blobs = LocalBlobs(settings.data_dir / "blobs")
    spaces = OpenedSpaces(partial(engine.open, again=True), settings)
    admission = Admission(settings, Keyring(reading, sessions))
    metrics.count_unavailable = spaces.count_unavailable
    metrics.engine_text = engine.metrics_text
    return Parts(
        settings=settings,
        metrics=metrics,
        signer=signer,
        sessions=sessions,
        reading=reading,
        health=_reading(own, known),
        blobs=blobs,
        jobs=Jobs(settings),
        engine=engine,
        spaces=spaces,
        cards=SpaceCards(blobs.scratch),
        admission=admission,
        session_admission=SessionAdmission(admission, KnownSessions(reading)),
        selections=KnownSelections(lease, known),
    )
