"""Whether a receipt still holds, by what is on this service's disk and what it answers."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends

from app.api.http.deps import BlobsDep, EngineDep, ReadSessionsDep, Sessions, TicketDep
from app.inference.deletion_gate import Ticket
from app.inference.engine import Engine
from app.receipts import ledger, remaining, residue
from app.receipts.probe import Probes
from app.store import write_lock
from app.store.blobs import LocalBlobs
from app.store.db import transaction
from app.store.tables import Receipt


@dataclass(frozen=True)
class Verifier:
    """The parts of the service that a verification looks into."""

    engine: Engine
    blobs: LocalBlobs
    reading: Sessions
    ticket: Ticket

    def verify(self, receipt_id: str) -> dict[str, Any]:
        """The fields of a VerificationOut.

        Raises:
            NotFound: `receipt_not_found`.
        """
        with transaction(self.reading) as session:
            receipt = ledger.get(session, receipt_id)
            found = residue.verify(session, self.blobs, receipt)
        files = remaining.check(
            self.reading, self.blobs, residue.manifests(receipt), before=receipt.created_at
        )
        found |= {
            "files_ok": files.ok,
            "files_checked": files.checked,
            "files_left_out": files.left_out,
            "probe_ok": self._probe_ok(receipt),
        }
        found["ok"] = found["ok"] and False not in (found["files_ok"], found["probe_ok"])
        return found

    def _probe_ok(self, receipt: Receipt) -> bool | None:
        """Whether every space that was probed answers the same; None where one cannot tell."""
        probes = residue.parts(receipt, "probes")
        if not probes:
            return None
        after = residue.manifests(receipt)
        self.ticket.enter()  # this process deletes nothing in between
        try:
            before = self._epoch()
            held = [
                Probes(self.engine).holds(
                    self.reading,
                    probe,
                    made_at=receipt.created_at,
                    manifest=after.get(str(probe.get("space"))),
                )
                for probe in probes
            ]
            if self._epoch() != before:  # another process did
                return None
        finally:
            self.ticket.leave()
        return False if False in held else None if None in held else True

    def _epoch(self) -> int:
        with transaction(self.reading) as session:
            return write_lock.deletions_so_far(session)


def _verifier(
    engine: EngineDep, blobs: BlobsDep, reading: ReadSessionsDep, ticket: TicketDep
) -> Verifier:
    return Verifier(engine, blobs, reading, ticket)


VerifierDep = Annotated[Verifier, Depends(_verifier)]
