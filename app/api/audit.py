"""The audit log: who changed what."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.http.deps import PageDep, ReadSessionDep
from app.api.http.scopes import ScopedRoute
from app.database import audit
from tangent_composer.schemas.audit import AuditOut
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems

router = APIRouter(prefix="/audit", tags=["keys"], route_class=ScopedRoute)


@router.get("", summary="List what was changed by whom", responses=problems(422))
def audited(
    session: ReadSessionDep,
    page: PageDep,
    key_id: Annotated[str | None, Query(max_length=64, description="of this key only")] = None,
) -> Listing[AuditOut]:
    """Lists changes from the first on, a page at a time; entries are never changed or deleted.

    Every request that changes something has one entry, written with the change.
    """
    rows = audit.list_(session, after=page.after_id, limit=page.limit + 1, key_id=key_id)
    return page.listing(rows, AuditOut.of)
