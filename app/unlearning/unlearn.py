"""The edge of every deletion: gate, transaction, caches, then files; in this order.

    receipt = deletions.run(lambda session, how: forget_component(session, component_id, how))

When it returns, no answer of this process contains what was deleted, and none ever will.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated

from fastapi import Depends, Query

from app.api.http.deps import (
    BlobsDep,
    EngineDep,
    JobsDep,
    MetricsDep,
    Sessions,
    SessionsDep,
    SignerDep,
)
from app.inference.engine import Engine
from app.metrics import Metrics
from app.receipts.body import Circumstances
from app.receipts.probe import Probes
from app.receipts.signing import Signer
from app.store.blobs import LocalBlobs
from app.store.db import Session, transaction
from app.store.jobs import Jobs
from app.store.tables import Receipt, now
from app.unlearning import cleanup
from app.unlearning.deletion import Deletion

Forget = Callable[[Session, Circumstances], Deletion]
Probe = Annotated[
    bool,
    Query(
        description="note in the receipt what the components that remain answer a fixed batch of "
        "images with, as a hash; other changes wait for that one pass"
    ),
]


@dataclass(frozen=True)
class Deletions:
    """The parts of the service that a deletion concerns."""

    sessions: Sessions
    engine: Engine
    jobs: Jobs
    blobs: LocalBlobs
    metrics: Metrics
    signer: Signer | None

    def run(self, forget: Forget, *, probe: bool = False) -> Receipt:
        """Delete what `forget` deletes, everywhere; the receipt, with a probe if that is wanted."""
        started, taken = perf_counter(), Probes(self.engine).take if probe else None
        how = Circumstances(now(), self.signer, taken)
        with self.engine.exclusive():
            with transaction(self.sessions) as session:
                deletion = forget(session, how)
            self.engine.forget(deletion.shas)
        cleanup.clean(deletion, self.sessions, self.jobs, self.blobs)
        self.metrics.deletion_seconds.observe(perf_counter() - started)
        return deletion.receipt


def _deletions(
    sessions: SessionsDep,
    engine: EngineDep,
    jobs: JobsDep,
    blobs: BlobsDep,
    metrics: MetricsDep,
    signer: SignerDep,
) -> Deletions:
    return Deletions(sessions, engine, jobs, blobs, metrics, signer)


DeletionsDep = Annotated[Deletions, Depends(_deletions)]
