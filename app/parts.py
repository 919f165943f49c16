"""The parts of a running service, opened once and shared by all its requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from sqlalchemy.orm import Session, sessionmaker

from app.inference.engine import Engine
from app.metrics import Metrics
from app.settings import Settings
from app.store.blobs import LocalBlobs
from app.store.db import fold_log, open_engine, session_factory
from app.store.jobs import Jobs

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
    """Settings, database, files, job queue and engine of one process."""

    settings: Settings
    metrics: Metrics
    signer: Signer | None  # None: receipts are not signed
    sessions: Sessions  # makes writing sessions
    reading: Sessions  # makes reading sessions, which wait for no writer
    blobs: LocalBlobs
    jobs: Jobs
    engine: Engine
    # One change of a dataset in this process at a time: another one would have to be planned again.
    dataset_changes: Lock = field(default_factory=Lock)


@contextmanager
def opened(settings: Settings, metrics: Metrics, signer: Signer | None) -> Iterator[Parts]:
    """Yield the parts of these settings; close them after the block."""
    sql, blobs = open_engine(settings), LocalBlobs(settings.data_dir / "blobs")
    parts = Parts(
        settings=settings,
        metrics=metrics,
        signer=signer,
        sessions=session_factory(sql),
        reading=session_factory(sql, read_only=True),
        blobs=blobs,
        jobs=Jobs(settings),
        engine=Engine(settings, blobs, metrics),
    )
    try:
        yield parts
    finally:
        parts.engine.close()
        parts.jobs.close()
        fold_log(sql)
        sql.dispose()
