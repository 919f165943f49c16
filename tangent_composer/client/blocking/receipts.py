# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Receipts: what deletions removed, verified by the service and on this machine."""

from collections.abc import Iterator, Iterator, Sequence
from contextlib import contextmanager

from tangent_composer.client.blocking.transport import Transport
from tangent_composer.client.errors import Conflict, NotFound
from tangent_composer.client.ledgers import Verified, check_ledger, check_receipt, keys_of
from tangent_composer.client.paths import segment
from tangent_composer.schemas.receipts import (
    ConsistencyOut,
    HeadOut,
    InclusionOut,
    KeyOut,
    ReceiptOut,
    VerificationOut,
)

UNSIGNED = ("receipts_not_signed", "no_receipts")


@contextmanager
def unless_unsigned() -> Iterator[None]:
    """Suppress the refusal of a service that does not sign, or has no receipt yet."""
    try:
        yield
    except (Conflict, NotFound) as error:
        if error.code not in UNSIGNED:
            raise


class Receipts:
    """The receipts of a service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, receipt_id: str) -> ReceiptOut:
        """Return a receipt."""
        return self._transport.get(f"/v1/receipts/{segment(receipt_id)}", ReceiptOut)

    def each(self) -> Iterator[ReceiptOut]:
        """Yield all receipts, the first one first."""
        return self._transport.each("/v1/receipts", ReceiptOut)

    def head(self) -> HeadOut:
        """Return the number and hash of the last receipt, to be noted elsewhere."""
        return self._transport.get("/v1/receipts/head", HeadOut)

    def key(self, key_id: str | None = None) -> KeyOut:
        """Return the public key that checks signatures."""
        return self._transport.get("/v1/receipts/key", KeyOut, key_id=key_id)

    def checkpoint(self) -> str:
        """Return size and root of the ledger as a signed note, to be noted elsewhere."""
        return (self._transport.send("GET", "/v1/receipts/checkpoint")).text

    def inclusion(self, receipt_id: str, size: int | None = None) -> InclusionOut:
        """Return the proof that the ledger of this size holds a receipt."""
        path = f"/v1/receipts/{segment(receipt_id)}/inclusion"
        return self._transport.get(path, InclusionOut, size=size)

    def consistency(self, first: int, second: int) -> ConsistencyOut:
        """Return the proof that the ledger has only grown between two sizes."""
        path = "/v1/receipts/consistency"
        return self._transport.get(path, ConsistencyOut, first=first, second=second)

    def verify(self, receipt_id: str) -> VerificationOut:
        """Have the service look whether anything of what was deleted is left."""
        path = f"/v1/receipts/{segment(receipt_id)}/verify"
        return self._transport.post(path, VerificationOut)

    def verify_offline(
        self,
        receipt_id: str | None = None,
        *,
        public_keys: Sequence[str] = (),
        head: str | None = None,
    ) -> Verified:
        """Fetch the ledger and check it on this machine; one receipt alone by its proof.

        public_keys: PEM texts that were noted earlier; else those that the service gives. head: a
        hash noted earlier, which a receipt must have. Where the service signs nothing, hashes and
        chain are checked.
        """
        if receipt_id is not None and head is None:
            receipt = self.get(receipt_id)
            given = public_keys or self._keys([receipt])
            note = self._note() if given and receipt.key_id is not None else None
            if note is not None:
                proof = self.inclusion(receipt_id, size=int(note.split("\n")[1]))
                return check_receipt(receipt, proof, keys_of(given), note)
        receipts = [receipt for receipt in self.each()]
        given = public_keys or self._keys(receipts)
        latest = self._note() if given else None
        return check_ledger(receipts, keys_of(given), latest, head)

    def _keys(self, receipts: Sequence[ReceiptOut]) -> list[str]:
        """Return the keys of these receipts, and the present one, which signs checkpoints."""
        ids = {receipt.key_id for receipt in receipts if receipt.key_id is not None}
        found = [(self.key(key_id)).public_key for key_id in sorted(ids)]
        if found:
            with unless_unsigned():
                found.append((self.key()).public_key)
        return found

    def _note(self) -> str | None:
        """Return the signed checkpoint; None before the first receipt, or without a key."""
        with unless_unsigned():
            return self.checkpoint()
        return None
