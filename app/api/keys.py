"""API keys: routes to make, list and revoke them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.access import keys
from app.api.http.deps import PageDep, PartsDep, ReadSessionDep
from app.api.http.scopes import ScopedRoute
from app.operations.keys import create_key, revoke_key
from tangent_composer.schemas.keys import CreatedKey, KeyIn, KeyOut
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems

router = APIRouter(prefix="/keys", tags=["keys"], route_class=ScopedRoute)
KeyId = Annotated[str, Path(max_length=64)]


@router.post("", status_code=201, summary="Make a key", responses=problems(409, 422))
def create(body: KeyIn, parts: PartsDep, response: Response) -> CreatedKey:
    """Shows the key in this answer and never again; from the first one on, all requests need one.

    It takes no Idempotency-Key, as an answer cannot be repeated.
    """
    made = create_key(parts, body)
    response.headers["Location"] = f"/v1/keys/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return made


@router.get("", summary="List keys", responses=problems(422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[KeyOut]:
    """Lists keys by age, a page at a time, also those revoked or expired; never a secret."""
    return page.listing(keys.list_(session, after=page.after_id, limit=page.limit + 1), KeyOut.of)


@router.get("/{key_id}", summary="Show a key", responses=problems(404))
def get(session: ReadSessionDep, key_id: KeyId) -> KeyOut:
    """Shows the key without its secret."""
    return KeyOut.of(keys.get(session, key_id))


@router.delete("/{key_id}", summary="Revoke a key", responses=problems(404))
def delete(parts: PartsDep, key_id: KeyId) -> KeyOut:
    """Revokes the key for good: in this process at once, in others after two seconds at most."""
    return revoke_key(parts, key_id)
