"""Receipts: what each deletion removed, and whether that still holds."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.deps import BlobsDep, PageDep, ReadSessionDep
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.receipts import HeadOut, ReceiptOut, VerificationOut
from app.store import receipts, residue

router = APIRouter(prefix="/receipts", tags=["receipts"])
ReceiptId = Annotated[str, Path(max_length=64)]


@router.get("", summary="List receipts", responses=problems(404, 422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[ReceiptOut]:
    """From the first deletion on, a page at a time."""
    rows = receipts.list_(session, after=page.after, limit=page.limit + 1)
    return page.listing(rows, ReceiptOut.of)


@router.get("/head", summary="Show the ledger's head")
def head(session: ReadSessionDep) -> HeadOut:
    """The last receipt's number and hash, to be noted somewhere else."""
    last = receipts.head(session)
    if last is None:
        return HeadOut(number=0, id=None, hash=receipts.ZEROS)
    return HeadOut(number=last.number, id=last.id, hash=last.hash)


@router.get("/{receipt_id}", summary="Show a receipt", responses=problems(404))
def get(session: ReadSessionDep, receipt_id: ReceiptId) -> ReceiptOut:
    """The receipt, as it was written."""
    return ReceiptOut.of(receipts.get(session, receipt_id))


@router.post("/{receipt_id}/verify", summary="Verify a receipt", responses=problems(404))
def verify(session: ReadSessionDep, blobs: BlobsDep, receipt_id: ReceiptId) -> VerificationOut:
    """Recomputes the chain, looks for anything left of the deleted, compares the manifests."""
    found = residue.verify(session, blobs, receipts.get(session, receipt_id))
    return VerificationOut.model_validate(found)
