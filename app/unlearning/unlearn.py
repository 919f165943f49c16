"""Unlearning across the whole service: gate, transaction, caches, transfers, then files.

    receipt = unlearn(parts, lambda session: change.of_component(session, component_id))

When it returns, no answer of this process contains what was deleted, and none ever will.
"""

from collections.abc import Callable
from time import perf_counter

from app.database.sessions import Session, transaction
from app.database.tables import Receipt, now
from app.errors import NotReady
from app.files.component_files import DamagedFile
from app.parts import Parts
from app.receipts.answer_hash import AnswerHashes
from app.store import damage
from app.unlearning import cleanup
from app.unlearning.change import Change
from app.unlearning.deletion import Deletion, DeletionContext, apply


def unlearn(parts: Parts, change: Callable[[Session], Change], *, probe: bool = False) -> Receipt:
    """Carry out the change everywhere; return its receipt, which has a probe if requested."""
    started = perf_counter()
    answer_hash = AnswerHashes(parts.engine, parts.spaces).take if probe else None
    context = DeletionContext(now(), parts.signer, answer_hash, parts.caller.id)
    try:
        with parts.gate.exclusive():
            with transaction(parts.sessions) as session:
                deletion = apply(session, change(session), context)
            parts.engine.forget(deletion.obsolete.shas)
    except NotReady as error:
        if isinstance(error.__cause__, DamagedFile):  # that the probe has met
            damage.note(parts.sessions, parts.blobs, error.__cause__)
        raise
    parts.transfers.cut(_contents(deletion))
    cleanup.finish(deletion, parts.sessions, parts.jobs, parts.blobs)
    parts.metrics.deletion_seconds.observe(perf_counter() - started)
    return deletion.receipt


def _contents(deletion: Deletion) -> list[str]:
    """Return what no answer may contain any more, in the terms of `Ticket.hand_over`."""
    pack = [deletion.erased[0]] if deletion.erased else []
    return [*deletion.obsolete.subject_ids, *deletion.obsolete.shas, *pack]
