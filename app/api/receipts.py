"""Receipts: the records of deletions, and their verification."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse

from app.api.http.deps import PageDep, PartsDep, ReadSessionDep, TicketDep
from app.api.http.scopes import ScopedRoute
from app.receipts import ledger, log
from app.receipts.verify import verify as verify_receipt
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.receipts import (
    ConsistencyOut,
    HeadOut,
    InclusionOut,
    KeyOut,
    ReceiptOut,
    VerificationOut,
)

router = APIRouter(prefix="/receipts", tags=["receipts"], route_class=ScopedRoute)
ReceiptId = Annotated[str, Path(max_length=64)]
MAX_SIZE = 2**31 - 1  # of a ledger: the largest number of a receipt
PRESENT = "by default, the present one"
HoldingSize = Annotated[int | None, Query(ge=1, le=MAX_SIZE, description=PRESENT)]
TreeSize = Annotated[int | None, Query(ge=0, le=MAX_SIZE, description=PRESENT)]
FirstSize = Annotated[int, Query(ge=0, le=MAX_SIZE, description="of the checkpoint that you have")]


@router.get("", summary="List receipts", responses=problems(422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[ReceiptOut]:
    """Lists receipts from the first deletion on, a page at a time."""
    rows = ledger.list_(session, after=page.after_id, limit=page.limit + 1)
    return page.listing(rows, ReceiptOut.of)


@router.get("/head", summary="Show the ledger's head")
def head(session: ReadSessionDep) -> HeadOut:
    """Shows the last receipt's number and hash; note them elsewhere."""
    last = ledger.head(session)
    if last is None:
        return HeadOut(number=0, id=None, hash=ledger.ZEROS)
    return HeadOut(number=last.number, id=last.id, hash=last.hash)


@router.get("/key", summary="Show the key that signs receipts", responses=problems(404))
def key(
    session: ReadSessionDep,
    parts: PartsDep,
    key_id: Annotated[
        str | None, Query(max_length=64, description="of a receipt; else the present key")
    ] = None,
) -> KeyOut:
    """Shows the public key; note it elsewhere: `tangent verify-receipts` needs nothing else.

    A key that has signed a receipt stays available under its `key_id`, also after a newer key has
    replaced it.
    """
    shown_id, text = ledger.public_key(session, key_id, parts.signer)
    return KeyOut(key_id=shown_id, public_key=text)


@router.get(
    "/checkpoint",
    summary="Show the signed checkpoint",
    responses=problems(404, 409),
    response_class=PlainTextResponse,
)
def checkpoint(session: ReadSessionDep, parts: PartsDep) -> str:
    """Shows size and root of the Merkle tree over all receipts, signed; note it elsewhere.

    The format is C2SP's tlog-checkpoint. Its signature names the log in the first line, and the key
    of GET /v1/receipts/key made it.
    """
    return log.signed_checkpoint(session, parts.signer)


@router.get("/consistency", summary="Prove that the log grew", responses=problems(409, 422))
def consistency(
    session: ReadSessionDep, first: FirstSize, second: TreeSize = None
) -> ConsistencyOut:
    """Proves that the tree of the second size begins with the tree of the first (RFC 9162)."""
    return ConsistencyOut.model_validate(log.consistency(session, first, second))


@router.get("/{receipt_id}", summary="Show a receipt", responses=problems(404))
def get(session: ReadSessionDep, receipt_id: ReceiptId) -> ReceiptOut:
    """Shows the receipt as it was written."""
    return ReceiptOut.of(ledger.get(session, receipt_id))


@router.get(
    "/{receipt_id}/inclusion",
    summary="Prove that the log holds a receipt",
    responses=problems(404, 409, 422),
)
def inclusion(
    session: ReadSessionDep, receipt_id: ReceiptId, size: HoldingSize = None
) -> InclusionOut:
    """Proves that the tree of this size holds the receipt (RFC 9162)."""
    return InclusionOut.model_validate(log.inclusion(session, receipt_id, size))


@router.post("/{receipt_id}/verify", summary="Verify a receipt", responses=problems(404, 503))
def verify(parts: PartsDep, ticket: TicketDep, receipt_id: ReceiptId) -> VerificationOut:
    """Recomputes the receipt's statements from rows, files and answers to its probe.

    It checks the chain and the signature; that nothing is left of the deleted; that the remaining
    components are the ones of the manifest, their files match their rows, and their answers to the
    probe's images are the same.
    """
    return VerificationOut.model_validate(verify_receipt(parts, ticket, receipt_id))
