"""Tangent spaces: a backbone, a scope and the labels declared with it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.http.deps import (
    EngineDep,
    PageDep,
    ReadSessionDep,
    ReadSessionsDep,
    SessionsDep,
    SettingsDep,
)
from app.errors import Conflict, Invalid
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.spaces import SpaceIn, SpaceOut
from app.store import spaces
from app.store.db import transaction

router = APIRouter(prefix="/spaces", tags=["spaces"])


@router.get("", summary="List spaces", responses=problems(422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[SpaceOut]:
    """By name, a page at a time."""
    rows = spaces.list_(session, after=page.after, limit=page.limit + 1)
    return page.listing(
        rows, lambda row: SpaceOut.of(row, spaces.labels(session, row)), lambda row: row.name
    )


@router.get("/{name}", summary="Show a space", responses=problems(404))
def get(session: ReadSessionDep, name: Annotated[str, Path(max_length=64)]) -> SpaceOut:
    """The space, with the labels known in it at this moment."""
    space = spaces.get(session, name)
    return SpaceOut.of(space, spaces.labels(session, space))


@router.post("", status_code=201, summary="Open a new space", responses=problems(409, 422, 503))
def create(
    body: SpaceIn,
    engine: EngineDep,
    settings: SettingsDep,
    reading: ReadSessionsDep,
    sessions: SessionsDep,
    response: Response,
) -> SpaceOut:
    """Opens the backbone before it answers; one that is not on this machine is downloaded first."""
    if len(body.labels) > settings.max_labels:
        raise Invalid(
            "too_many_labels",
            f"{len(body.labels)} labels are declared, the most is {settings.max_labels}",
        )
    with transaction(reading) as session:  # opening takes long: a taken name is found before
        if spaces.exists(session, body.name):
            raise Conflict("space_exists", f"space {body.name!r} exists: choose another name")
    opened = engine.open(body.backbone, body.scope, body.labels)
    with transaction(sessions) as session:
        facts = spaces.facts(opened)
        space = spaces.create(session, name=body.name, opened=facts, default_rule=body.default_rule)
        shown = SpaceOut.of(space, spaces.labels(session, space))
    response.headers["Location"] = f"/v1/spaces/{space.name}"
    return shown
