"""Whether a receipt still holds, by what is on this service's disk and what it answers."""

from typing import Any

from app.inference.deletion_gate import Ticket
from app.parts import Parts
from app.receipts import ledger, remaining, residue
from app.receipts.probe import Probes
from app.store import write_lock
from app.store.db import transaction
from app.store.tables import Receipt


def verify(parts: Parts, ticket: Ticket, receipt_id: str) -> dict[str, Any]:
    """The fields of a VerificationOut.

    Raises:
        NotFound: `receipt_not_found`.
    """
    with transaction(parts.reading) as session:
        receipt = ledger.get(session, receipt_id)
        found = residue.verify(session, parts.blobs, receipt)
    files = remaining.check(
        parts.reading, parts.blobs, residue.manifests(receipt), before=receipt.created_at
    )
    found |= {
        "files_ok": files.ok,
        "files_checked": files.checked,
        "files_left_out": files.left_out,
        "probe_ok": _probe_ok(parts, ticket, receipt),
    }
    found["ok"] = found["ok"] and False not in (found["files_ok"], found["probe_ok"])
    return found


def _probe_ok(parts: Parts, ticket: Ticket, receipt: Receipt) -> bool | None:
    """Whether every space that was probed answers the same; None where one cannot tell."""
    probes = residue.parts(receipt, "probes")
    if not probes:
        return None
    after = residue.manifests(receipt)
    ticket.enter()  # this process deletes nothing in between
    try:
        before = _deletions_so_far(parts)
        held = [
            Probes(parts.engine).holds(
                parts.reading,
                probe,
                made_at=receipt.created_at,
                manifest=after.get(str(probe.get("space"))),
            )
            for probe in probes
        ]
        if _deletions_so_far(parts) != before:  # another process deleted something
            return None
    finally:
        ticket.leave()
    return False if False in held else None if None in held else True


def _deletions_so_far(parts: Parts) -> int:
    with transaction(parts.reading) as session:
        return write_lock.deletions_so_far(session)
