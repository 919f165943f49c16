"""Verification of a receipt against this service's rows, files and answers."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.sessions import transaction
from app.database.tables import Receipt, Space
from app.errors import NotReady
from app.files.blobs import LocalBlobs
from app.inference.deletion_gate import Ticket
from app.parts import Parts
from app.receipts import ledger, references, remaining, tree
from app.receipts.answer_hash import AnswerHashes
from app.receipts.body import NOT_COVERED, BodyV1, BodyV2, read
from app.store.counts import deletions_so_far

PATIENCE_SECONDS = 2.0  # a request that waits holds a thread
RETRY_SECONDS = 5


def verify(parts: Parts, ticket: Ticket, receipt_id: str) -> dict[str, Any]:
    """Return the fields of a VerificationOut.

    One at a time: the whole ledger is read, and files of up to `remaining.MAX_BYTES`.

    Raises:
        NotFound: `receipt_not_found`.
        NotReady: `verification_busy`.
    """
    if not parts.verifying.acquire(timeout=PATIENCE_SECONDS):
        raise NotReady(
            "verification_busy",
            "another receipt is being verified, which reads many files: try again",
            retry_after=RETRY_SECONDS,
        )
    try:
        return _verified(parts, ticket, receipt_id)
    finally:
        parts.verifying.release()


def _verified(parts: Parts, ticket: Ticket, receipt_id: str) -> dict[str, Any]:
    with transaction(parts.reading) as session:
        receipt = ledger.get(session, receipt_id, damaged_too=True)
        body = read(receipt.body)
        result = verify_rows(session, parts.blobs, receipt)
    left = references.count_leftovers(parts.reading, parts.blobs)
    result["residue"] += [{"kind": kind, "count": number} for kind, number in left.items()]
    files = remaining.check_files(
        parts.reading, parts.blobs, _manifests(body), before=receipt.number
    )
    result |= {
        "files_ok": files.ok,
        "files_checked": files.checked,
        "files_left_out": files.left_out,
        "probe_ok": _probe_ok(parts, ticket, receipt, body),
    }
    holds = False not in (result["files_ok"], result["probe_ok"])
    result["ok"] = result["ok"] and holds and not left
    return result


def verify_rows(session: Session, blobs: LocalBlobs, receipt: Receipt) -> dict[str, Any]:
    """Check the chain, the tree, the signature, references to deleted subjects, and the manifests.

    `manifest_ok` is None if later deletions changed the same spaces, `signature_ok` if the receipt
    is not signed.
    """
    body = read(receipt.body)
    broken, signature_ok = ledger.broken_at(session), ledger.signature_ok(session, receipt)
    tree_ok = tree.is_sound(session)
    left = references.count(session, blobs, [subject.id for subject in body.subjects])
    left |= references.count_replaced(session, blobs, receipt.id, body.dataset_id)
    manifest_ok = _manifests_hold(session, receipt, body)
    return {
        "receipt_id": receipt.id,
        "ok": broken is None and not left and False not in (tree_ok, manifest_ok, signature_ok),
        "chain_ok": broken is None,
        "chain_broken_at": broken,
        "tree_ok": tree_ok,
        "signature_ok": signature_ok,
        "manifest_ok": manifest_ok,
        "residue": [{"kind": kind, "count": number} for kind, number in left.items()],
        "checked": list(references.CHECKED),
        "not_covered": list(NOT_COVERED),
    }


def _manifests(body: BodyV1) -> dict[str, str]:
    """Return the manifest after the deletion of every space that it changed."""
    return {manifest.space: manifest.after for manifest in body.manifests}


def _manifests_hold(session: Session, receipt: Receipt, body: BodyV1) -> bool | None:
    """Return whether the remaining components are still those of the receipt.

    Components that were published or deleted later do not count, nor do spaces whose components
    were trained again, or lost a file to damage, later.
    """
    manifests = _manifests(body)
    later = session.scalars(select(Receipt.body).where(Receipt.number > receipt.number))
    changed = {space for stored in later for space in _manifests(read(stored))}
    remade = Space.name.in_(manifests), Space.remade_after >= receipt.number
    changed.update(session.scalars(select(Space.name).where(*remade)))
    answers = {
        remaining.manifest(session, space, before=receipt.number)[0] == after
        for space, after in manifests.items()
        if space not in changed
    }
    if False in answers:
        return False
    return None if changed & set(manifests) else True


def _probe_ok(parts: Parts, ticket: Ticket, receipt: Receipt, body: BodyV1) -> bool | None:
    """Return whether every probed space gives the same answers; None if it cannot be known."""
    probes = body.probes if isinstance(body, BodyV2) else None
    if not probes:
        return None
    manifests = _manifests(body)
    ticket.enter()  # keeps deletions of this process waiting
    try:
        before = _deletions_so_far(parts)
        answers = [
            AnswerHashes(parts.engine, parts.spaces).holds(
                parts.reading,
                probe,
                before=receipt.number,
                manifest=manifests.get(str(probe.get("space"))),
            )
            for probe in probes
        ]
        if _deletions_so_far(parts) != before:  # another process deleted something
            return None
    finally:
        ticket.leave()
    return False if False in answers else None if None in answers else True


def _deletions_so_far(parts: Parts) -> int:
    with transaction(parts.reading) as session:
        return deletions_so_far(session)
