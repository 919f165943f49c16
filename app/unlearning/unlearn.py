"""Unlearning across the whole service: gate, transaction, caches, transfers, processes, then files.

    done = unlearn(parts, lambda session: change.of_component(session, component_id))

When it returns, no answer of any process contains what was deleted, and none ever will; for other
processes by their leases, see app.inference.lease.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

from app.database.sessions import Session, transaction
from app.database.tables import Receipt, now
from app.errors import Gone, NotReady
from app.files.component_files import DamagedFile
from app.inference import answering_processes, space_cards
from app.parts import Parts
from app.receipts.answer_hash import AnswerHashes
from app.store import damage
from app.store.counts import deletions_so_far
from app.unlearning import cleanup
from app.unlearning.change import Change
from app.unlearning.deletion import Deletion, DeletionContext, apply


@dataclass(frozen=True)
class Unlearned:
    """A receipt, and the names of processes that did not confirm the deletion.

    Their leases have ended: they answer nothing before they know of it.
    """

    receipt: Receipt
    unconfirmed: Sequence[str] = ()


def unlearn(parts: Parts, change: Callable[[Session], Change], *, probe: bool = False) -> Unlearned:
    """Carry out the change everywhere; the receipt has a probe if requested.

    Raises:
        Problem: as the change's; also if it was made before, no other process answers as of then.
    """
    started = perf_counter()
    answer_hash = AnswerHashes(parts.engine, parts.spaces).take if probe else None
    context = DeletionContext(now(), parts.signer, answer_hash, parts.caller.id, parts.blobs)
    try:
        deletion = _deleted(parts, change, context)
    except Gone:  # whoever deleted it may have died before it had waited
        await_others(parts)
        raise
    except NotReady as error:
        if isinstance(error.__cause__, DamagedFile):  # that the probe has met
            damage.note(parts.sessions, parts.blobs, error.__cause__)
        raise
    parts.transfers.cut(_contents(deletion))
    if (name := _space_of(deletion)) is not None:
        parts.cards.forget(name)
        parts.spaces.forget(name)
    try:
        missing = parts.lease.await_others(deletion.receipt.number)
    finally:
        try:
            cleanup.finish(deletion, parts.sessions, parts.jobs, parts.blobs)
        finally:
            parts.engine.forget_what_came_back(deletion.obsolete.shas)
    parts.metrics.deletion_seconds.observe(perf_counter() - started)
    return Unlearned(deletion.receipt, [each.name for each in missing])


def await_others(parts: Parts) -> Sequence[str]:
    """Wait until no other process answers as of an earlier epoch than the database's.

    Return the names of those that did not confirm it.
    """
    with transaction(parts.reading) as session:
        epoch = deletions_so_far(session)
    return [each.name for each in parts.lease.await_others(epoch)]


def _deleted(
    parts: Parts, change: Callable[[Session], Change], context: DeletionContext
) -> Deletion:
    with parts.gate.exclusive(), ExitStack() as committing:
        with transaction(parts.sessions) as session:
            deletion = apply(session, change(session), context)
            committing.enter_context(parts.lease.suspended())
            answering_processes.confirm(session, parts.lease.id, deletion.receipt.number)
        parts.engine.forget(deletion.obsolete.shas)
    return deletion


def _contents(deletion: Deletion) -> list[str]:
    """Return what no answer may contain any more, in the terms of `Ticket.hand_over`."""
    pack = [deletion.erased[0]] if deletion.erased else []
    obsolete = deletion.obsolete
    made = [*obsolete.passes, *obsolete.evaluations]
    name = _space_of(deletion)
    cards = [] if name is None else [space_cards.contents_of(name)]
    return [*obsolete.subject_ids, *obsolete.shas, *pack, *made, *cards]


def _space_of(deletion: Deletion) -> str | None:
    """Return the name of the space that was deleted, if it was one."""
    subject = deletion.receipt.body["subject"]
    return str(subject["id"]) if subject["kind"] == "space" else None
