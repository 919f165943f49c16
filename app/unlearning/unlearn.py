"""The edge of every deletion: gate, transaction, caches, then files; in this order.

    receipt = unlearn(parts, lambda session, how: forget_component(session, component_id, how))

When it returns, no answer of this process contains what was deleted, and none ever will.
"""

from collections.abc import Callable
from time import perf_counter

from app.parts import Parts
from app.receipts.body import Circumstances
from app.receipts.probe import Probes
from app.store.db import Session, transaction
from app.store.tables import Receipt, now
from app.unlearning import cleanup
from app.unlearning.deletion import Deletion

Forget = Callable[[Session, Circumstances], Deletion]


def unlearn(parts: Parts, forget: Forget, *, probe: bool = False) -> Receipt:
    """Delete what `forget` deletes, everywhere; the receipt, with a probe if that is wanted."""
    started, taken = perf_counter(), Probes(parts.engine).take if probe else None
    how = Circumstances(now(), parts.signer, taken)
    with parts.engine.exclusive():
        with transaction(parts.sessions) as session:
            deletion = forget(session, how)
        parts.engine.forget(deletion.shas)
    cleanup.clean(deletion, parts.sessions, parts.jobs, parts.blobs)
    parts.metrics.deletion_seconds.observe(perf_counter() - started)
    return deletion.receipt
