"""Tangent spaces: a backbone, a scope and the labels declared with it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.http.deps import PageDep, PartsDep, ReadSessionDep
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.spaces import SpaceIn, SpaceOut
from app.serving.space_opening import open_space
from app.store import spaces

router = APIRouter(prefix="/spaces", tags=["spaces"])


@router.get("", summary="List spaces", responses=problems(422))
def list_(parts: PartsDep, session: ReadSessionDep, page: PageDep) -> Listing[SpaceOut]:
    """Lists spaces by name, a page at a time."""
    rows = spaces.list_(session, after=page.after, limit=page.limit + 1)
    opened = parts.engine.spaces
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
    return SpaceOut.of(space, spaces.labels(session, space), parts.engine.spaces)


@router.post("", status_code=201, summary="Open a new space", responses=problems(409, 422, 503))
def create(body: SpaceIn, parts: PartsDep, response: Response) -> SpaceOut:
    """Opens the backbone before it answers; a missing backbone is downloaded first."""
    shown = open_space(parts, body)
    response.headers["Location"] = f"/v1/spaces/{shown.name}"
    return shown
