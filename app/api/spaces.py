"""Tangent spaces: a backbone, a scope and the labels declared with it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.http.deps import PageDep, PartsDep, ReadSessionDep
from app.api.http.scopes import ScopedRoute
from app.operations.space_opening import open_space
from app.operations.space_sharing import change_space
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.spaces import SpaceChange, SpaceIn, SpaceOut
from app.store import spaces

router = APIRouter(prefix="/spaces", tags=["spaces"], route_class=ScopedRoute)


@router.get("", summary="List spaces", responses=problems(422))
def list_(parts: PartsDep, session: ReadSessionDep, page: PageDep) -> Listing[SpaceOut]:
    """Lists spaces by name, a page at a time."""
    rows = spaces.list_(session, after=page.after, limit=page.limit + 1)
    opened = parts.spaces
    return page.listing(
        rows,
        lambda row: SpaceOut.of(row, spaces.labels(session, row), opened),
        lambda row: row.name,
    )


@router.get("/{name}", summary="Show a space", responses=problems(404))
def get(
    parts: PartsDep, session: ReadSessionDep, name: Annotated[str, Path(max_length=64)]
) -> SpaceOut:
    """Shows the space with the labels that it knows at this moment."""
    space = spaces.get(session, name)
    return SpaceOut.of(space, spaces.labels(session, space), parts.spaces)


@router.post("", status_code=201, summary="Open a new space", responses=problems(409, 422, 503))
def create(body: SpaceIn, parts: PartsDep, response: Response) -> SpaceOut:
    """Opens the backbone before it answers; a missing backbone is downloaded first."""
    shown = open_space(parts, body)
    response.headers["Location"] = f"/v1/spaces/{shown.name}"
    return shown


@router.patch("/{name}", summary="Share a space", responses=problems(403, 404, 422))
def patch(
    name: Annotated[str, Path(max_length=64)], body: SpaceChange, parts: PartsDep
) -> SpaceOut:
    """Shares a space with all keys or ends that, for its owner; gives it to another key, for admin.

    Without an owner, or shared, a space and all in it can be seen by every key, which may do there
    what its scopes allow. Otherwise it does not exist for any key but the owner and those with
    scope admin.
    """
    return change_space(parts, name, body)
