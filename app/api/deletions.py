"""The edge of every deletion: gate, transaction, caches, then files; in this order.

    receipt = deletions.run(lambda session: forget_component(session, component_id))

When it returns, no answer of this process contains what was deleted, and none ever will.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated

from fastapi import Depends

from app.api.deps import BlobsDep, EngineDep, JobsDep, MetricsDep, Sessions, SessionsDep
from app.engine import Engine
from app.metrics import Metrics
from app.store import leftovers
from app.store.blobs import LocalBlobs
from app.store.db import Session, transaction
from app.store.deletion import Deletion
from app.store.jobs import Jobs
from app.store.tables import Receipt


@dataclass(frozen=True)
class Deletions:
    """The parts of the service that a deletion concerns."""

    sessions: Sessions
    engine: Engine
    jobs: Jobs
    blobs: LocalBlobs
    metrics: Metrics

    def run(self, forget: Callable[[Session], Deletion]) -> Receipt:
        """Delete what `forget` deletes, everywhere; the receipt."""
        started = perf_counter()
        with self.engine.exclusive():
            with transaction(self.sessions) as session:
                deletion = forget(session)
            self.engine.forget(deletion.shas)
        leftovers.clean(deletion, self.sessions, self.jobs, self.blobs)
        self.metrics.deletion_seconds.observe(perf_counter() - started)
        return deletion.receipt


def _deletions(
    sessions: SessionsDep, engine: EngineDep, jobs: JobsDep, blobs: BlobsDep, metrics: MetricsDep
) -> Deletions:
    return Deletions(sessions, engine, jobs, blobs, metrics)


DeletionsDep = Annotated[Deletions, Depends(_deletions)]
