"""Compositions: named, versioned choices of components, weights and a rule."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from app.api.http import etags
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ReadSessionDep,
    SessionDep,
    TicketDep,
)
from app.api.http.list_queries import BY_METADATA, Filter, MetadataDep, NameOrTimes
from app.api.http.scopes import ScopedRoute
from app.database.tables import Composition
from app.operations.composition import put_composition
from app.operations.weight_fitting import fit_weights
from app.store import compositions, descriptions, lists
from tangent_composer.schemas.compositions import (
    CompositionChange,
    CompositionIn,
    CompositionOut,
    SolveIn,
)
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.spaces import NAME

router = APIRouter(prefix="/compositions", tags=["compositions"], route_class=ScopedRoute)
Name = Annotated[str, Path(max_length=64)]
NewName = Annotated[str, Path(max_length=64, pattern=NAME)]
IfMatch = Annotated[
    str | None,
    Header(
        description="the ETag that the composition must still have",
        json_schema_extra={"pattern": etags.ONE},
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        description="* to make it only if there is none", json_schema_extra={"pattern": etags.ONE}
    ),
]


def _out(row: Composition) -> CompositionOut:
    return CompositionOut.of(row, compositions.etag(row))


@router.put(
    "/{name}",
    summary="Make or replace a composition",
    responses=problems(404, 409, 410, 412, 422) | {201: {"model": CompositionOut}},
)
def put(
    name: NewName,
    body: CompositionIn,
    parts: PartsDep,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> CompositionOut:
    """Answers 201 for a new one, 200 for a replaced one; the ETag changes with the content only."""
    shown, created = put_composition(
        parts,
        name,
        body,
        if_match=etags.version_of(if_match, "If-Match"),
        if_none_match=etags.version_of(if_none_match, "If-None-Match"),
    )
    response.headers["ETag"] = etags.quoted(shown.etag)
    if created:
        response.status_code = 201
        response.headers["Location"] = f"/v1/compositions/{name}"
    return shown


@router.post(
    "/{name}/solve",
    summary="Solve for the best weights",
    responses=problems(404, 409, 410, 412, 422, 503),
)
def solve(
    name: Name,
    body: SolveIn,
    parts: PartsDep,
    ticket: TicketDep,
    once: OnceDep,
    response: Response,
    if_match: IfMatch = None,
) -> CompositionOut:
    """Fits the weights of the composition's components to a labelled dataset, and stores them.

    The composition then has rule weighted, and lists its components if it had "all". The deletion
    of a component or of the dataset removes the solved weights: the rest is averaged.
    """
    shown = fit_weights(parts, ticket, name, body, etags.version_of(if_match, "If-Match"), once)
    response.headers["ETag"] = etags.quoted(shown.etag)
    return shown


@router.get("", summary="List compositions", openapi_extra=BY_METADATA, responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    metadata: MetadataDep,
    space: Filter = None,
    component_id: Annotated[
        str | None, Query(max_length=64, description="those that name this component")
    ] = None,
    order: NameOrTimes = "name",
) -> Listing[CompositionOut]:
    """Lists compositions a page at a time; the filters narrow the list."""
    same = {"space": space, "component_id": component_id}
    rows = lists.compositions(session, page.asked(order), **same, metadata=metadata)
    place = partial(lists.cursor, Composition, order)
    return page.listing(rows, _out, lambda row: row.name, place)


@router.get(
    "/{name}",
    summary="Show a composition",
    response_model=CompositionOut,
    responses=problems(404) | {304: {"description": "it is the version of If-None-Match"}},
)
def get(
    name: Name,
    session: ReadSessionDep,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> CompositionOut | Response:
    """Shows the composition; the ETag is its version."""
    shown = _out(compositions.get(session, name))
    headers = {"ETag": etags.quoted(shown.etag)}
    if etags.names(if_none_match, shown.etag):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return shown


@router.patch("/{name}", summary="Describe a composition", responses=problems(400, 404, 412, 422))
def patch(
    name: Name,
    body: CompositionChange,
    session: SessionDep,
    response: Response,
    if_match: IfMatch = None,
) -> CompositionOut:
    """Changes its metadata, by a JSON merge patch, and its ETag; its answers stay the same."""
    given = body.model_dump(exclude_unset=True)
    version = etags.version_of(if_match, "If-Match")
    shown = _out(descriptions.describe_composition(session, name, given, if_match=version))
    response.headers["ETag"] = etags.quoted(shown.etag)
    return shown


@router.delete(
    "/{name}", status_code=204, summary="Delete a composition", responses=problems(400, 404, 412)
)
def delete(name: Name, session: SessionDep, parts: PartsDep, if_match: IfMatch = None) -> None:
    """Removes the name only; the components stay."""
    compositions.remove(session, parts.blobs, name, if_match=etags.version_of(if_match, "If-Match"))
