"""Tangent spaces: a backbone, a scope and the labels declared with it."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import FileResponse

from app.api.http import etags, unconfirmed
from app.api.http.deps import OnceDep, PageDep, PartsDep, ReadSessionDep, ThreadsDep, TicketDep
from app.api.http.list_queries import Filter, NameOrAge
from app.api.http.open_file import OpenFileResponse
from app.api.http.scopes import ScopedRoute
from app.database.tables import Space
from app.operations.space_card import card_file
from app.operations.space_opening import open_space
from app.operations.space_sharing import change_space
from app.store import lists, spaces
from app.unlearning import space_deletion
from app.unlearning.unlearn import unlearn
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.spaces import SpaceChange, SpaceIn, SpaceOut

OCTETS = "application/octet-stream"  # the format has no registered type
router = APIRouter(prefix="/spaces", tags=["spaces"], route_class=ScopedRoute)


@router.get("", summary="List spaces", responses=problems(422))
def list_(
    parts: PartsDep,
    session: ReadSessionDep,
    page: PageDep,
    backbone: Annotated[str | None, Query(max_length=1024)] = None,
    scope: Filter = None,
    fingerprint: Annotated[
        str | None, Query(max_length=64, description="of a component's file, as it is shown")
    ] = None,
    order: NameOrAge = "name",
) -> Listing[SpaceOut]:
    """Lists spaces a page at a time; the filters narrow the list."""
    same = {"backbone": backbone, "scope": scope, "fingerprint": fingerprint}
    rows = lists.spaces(session, page.asked(order), **same)
    opened = parts.spaces
    return page.listing(
        rows,
        lambda row: SpaceOut.of(row, spaces.labels(session, row), opened),
        lambda row: row.name,
        partial(lists.cursor, Space, order),
    )


@router.get("/{name}", summary="Show a space", responses=problems(404))
def get(
    parts: PartsDep, session: ReadSessionDep, name: Annotated[str, Path(max_length=64)]
) -> SpaceOut:
    """Shows the space with the labels that it knows at this moment."""
    space = spaces.get(session, name)
    return SpaceOut.of(space, spaces.labels(session, space), parts.spaces)


@router.get(
    "/{name}/card",
    summary="Download a space's card",
    response_class=FileResponse,
    responses=problems(403, 404, 422, 503)
    | {
        200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "the part that Range asks for"},
        304: {"description": "it is the version of If-None-Match"},
    },
)
def card(
    name: Annotated[str, Path(max_length=64)],
    parts: PartsDep,
    ticket: TicketDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends all that a machine needs to train a component of the space without this service.

    It is one safetensors file, whole or by Range: the backbone's weights, and as metadata the
    space's name, fingerprint, scope, declared labels, preprocessing and licence. Its ETag is its
    SHA-256. `tangent fit` trains with it, to the same bytes as this service. Weights of the
    operator's own leave only where TANGENT_SPACE_CARDS allows it (403 `card_withheld`).
    """
    stored = card_file(parts, ticket, name, partial(etags.names, if_none_match))
    headers = {"ETag": etags.quoted(stored.version), "Cache-Control": "private, no-cache"}
    if stored.file is None:
        return Response(status_code=304, headers=headers)
    return OpenFileResponse(
        stored.file,
        ticket,
        stored.is_stored,
        media_type=OCTETS,
        filename=f"{name}.card",
        headers=headers,
    )


@router.post(
    "", status_code=201, summary="Open a new space", responses=problems(409, 410, 422, 503)
)
def create(body: SpaceIn, parts: PartsDep, once: OnceDep, response: Response) -> SpaceOut:
    """Opens the backbone before it answers; a missing backbone is downloaded first."""
    shown = open_space(parts, body, once)
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


@router.delete("/{name}", summary="Delete a space", responses=problems(403, 404, 409, 503))
async def delete(
    parts: PartsDep,
    threads: ThreadsDep,
    response: Response,
    name: Annotated[str, Path(max_length=64)],
    cascade: Annotated[
        bool, Query(description="also delete its components and compositions")
    ] = False,
) -> ReceiptOut:
    """Deletes the space; what is in it must go first, or with it, as by deletions of its own.

    Its evaluations and batch predictions go with it. Datasets stay. The name can be used again. For
    its owner, or for admin; the default space cannot be deleted.
    """
    of_space = partial(space_deletion.of_space, name=name, cascade=cascade)
    done = await threads.change(partial(unlearn, parts, of_space))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)
