"""The signature of a component's file, as the API shows it."""

from typing import Any

from sqlalchemy.orm import Session

from app.errors import NotFound
from app.parts import Signer
from app.store import components
from tangent_composer.receipts import envelope


def signature_of(session: Session, component_id: str, signer: Signer | None) -> dict[str, Any]:
    """Return the fields of a SignatureOut.

    Raises:
        NotFound: `receipts_not_signed`.
        Conflict, NotFound, Gone: as `components.ready`.
    """
    row = components.ready(session, component_id)
    if signer is None:
        raise NotFound(
            "receipts_not_signed",
            "this service signs no components: start it with TANGENT_RECEIPT_KEY_FILE to do so",
        )
    return envelope.written(row.id, str(row.sha256), signer.key_id, signer)
