"""Components: routes to train, import, follow, download and delete them."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse

from app.api.http import etags, server_sent_events, unconfirmed
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    SessionDep,
    ThreadsDep,
    TicketDep,
    WatchedTicketDep,
)
from app.api.http.list_queries import (
    BY_METADATA,
    AgeOrName,
    Filter,
    LabelFilter,
    MetadataDep,
    NameFilter,
)
from app.api.http.media_types import preferred
from app.api.http.open_file import OpenFileResponse
from app.api.http.spooling import SpoolingRoute
from app.database.tables import Component
from app.operations.downloads import component_file
from app.operations.recomputation import verify_component
from app.operations.training import cancel_training, events_after, queue_training, retrain
from app.receipts.component_signature import signature_of
from app.store import components, descriptions, lists
from app.unlearning import change
from app.unlearning.preview import preview_deletion
from app.unlearning.unlearn import unlearn
from tangent_composer.schemas.components import (
    ComponentChange,
    ComponentIn,
    ComponentOut,
    EventOut,
    SignatureOut,
    Status,
)
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.previews import PreviewOut
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.verifications import ComponentVerificationOut

router = APIRouter(prefix="/components", tags=["components"], route_class=SpoolingRoute)
ComponentId = Annotated[str, Path(max_length=64)]
EVENT_STREAM = "text/event-stream"
SAFETENSORS = "application/octet-stream"  # the format has no registered type
MAX_ID = 2**63 - 1


@router.post(
    "",
    status_code=202,
    summary="Train a component",
    responses=problems(404, 409, 410, 422),
)
def create(body: ComponentIn, parts: PartsDep, once: OnceDep, response: Response) -> ComponentOut:
    """Queues the training; Location shows its progress."""
    shown = queue_training(parts, body, once)
    response.headers["Location"] = f"/v1/components/{shown.id}"
    return shown


@router.get("", summary="List components", openapi_extra=BY_METADATA, responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    metadata: MetadataDep,
    name: NameFilter = None,
    label: LabelFilter = None,
    status: Annotated[Status | None, Query()] = None,
    space: Filter = None,
    dataset_id: Filter = None,
    order: AgeOrName = "created_at",
) -> Listing[ComponentOut]:
    """Lists components a page at a time; the filters narrow the list."""
    same = {"name": name, "label": label, "space": space, "dataset_id": dataset_id}
    asked = page.asked(order)
    rows = lists.components(session, asked, **same, status=status, metadata=metadata)
    return page.listing(rows, ComponentOut.of, cursor=partial(lists.cursor, Component, order))


@router.get("/{component_id}", summary="Show a component", responses=problems(404, 410))
def get(session: ReadSessionDep, component_id: ComponentId) -> ComponentOut:
    """Shows the component as it is now; 410 with its receipt after its deletion."""
    return ComponentOut.of(components.get(session, component_id))


@router.patch("/{component_id}", summary="Describe a component", responses=problems(404, 410, 422))
def patch(session: SessionDep, component_id: ComponentId, body: ComponentChange) -> ComponentOut:
    """Changes its name and its metadata, by a JSON merge patch; its file has neither."""
    given = body.model_dump(exclude_unset=True)
    return ComponentOut.of(descriptions.describe_component(session, component_id, given))


@router.get(
    "/{component_id}/events",
    summary="Follow a component",
    response_model=Listing[EventOut],
    responses=problems(404, 410)
    | {
        200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}},
        204: {"description": "the training has ended, and its last event was seen"},
    },
)
def follow(
    request: Request,
    component_id: ComponentId,
    parts: PartsDep,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="id of the last event seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{0,18}$")] = None,
) -> Listing[EventOut] | Response:
    """Lists events by page; with `Accept: text/event-stream`, sends them live to the last.

    A client that has seen the last one gets 204, at which a browser's EventSource stops.
    """
    after = int(last_event_id) if last_event_id else after
    events, over = events_after(parts, component_id, after, limit + 1)
    if preferred(accept, ("application/json", EVENT_STREAM)) == EVENT_STREAM:
        if over and not events:  # a browser comes back for ever, unless it gets 204
            return Response(status_code=204)
        streams = request.app.state.event_streams
        return server_sent_events.stream(parts, streams, component_id, after)
    shown, more = events[:limit], len(events) > limit
    return Listing(data=shown, has_more=more, next=str(shown[-1].id) if more else None)


@router.post(
    "/{component_id}/cancel", summary="Cancel a training", responses=problems(404, 409, 410)
)
def cancel(component_id: ComponentId, parts: PartsDep) -> ComponentOut:
    """Cancels the component at once; its training stops within two seconds."""
    return cancel_training(parts, component_id)


@router.post(
    "/{component_id}/retrain",
    status_code=202,
    summary="Train a failed component again",
    responses=problems(404, 409, 410, 503),
)
def train_again(component_id: ComponentId, parts: PartsDep) -> ComponentOut:
    """Queues a failed component, under its id: from its dataset, with its settings and seed."""
    return retrain(parts, component_id)


@router.post(
    "/{component_id}/verify",
    summary="Make a component again",
    responses=problems(404, 409, 410, 503),
)
def verify(component_id: ComponentId, parts: PartsDep) -> ComponentVerificationOut:
    """Trains it again from the images that are held, and compares the bytes with its file.

    Finds a file that was replaced together with its row. It takes as long as the training, up to
    two minutes, and changes nothing; at scopes `head` and `head2toe` only. Draw the component
    yourself: who doubts a service does not let it choose.
    """
    return verify_component(parts, component_id)


@router.get(
    "/{component_id}/delta",
    summary="Download a component",
    response_class=FileResponse,
    responses=problems(404, 409, 410, 503)
    | {
        200: {"content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "the part that Range asks for"},
        304: {"description": "it is the version of If-None-Match"},
    },
)
def delta(
    component_id: ComponentId,
    parts: PartsDep,
    ticket: TicketDep,
    statistics: Annotated[
        bool, Query(description="false: without the sums that rule joint needs")
    ] = True,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends the safetensors file, whole or by Range; its ETag is its SHA-256.

    Without statistics it tells less of single images, and answers by `average` and `weighted` only.
    `Smallest-Label-Images` is the number of images of the label that has the fewest.
    """
    known = partial(etags.names, if_none_match)
    file, fewest = component_file(parts, ticket, component_id, known, statistics=statistics)
    headers = {"ETag": etags.quoted(file.version), "Cache-Control": "private, no-cache"}
    if fewest is not None:
        headers["Smallest-Label-Images"] = str(fewest)
    if file.file is None:
        return Response(status_code=304, headers=headers)
    return OpenFileResponse(
        file.file,
        ticket,
        file.is_stored,
        media_type=SAFETENSORS,
        filename=f"{component_id}.safetensors",
        headers=headers,
    )


@router.get(
    "/{component_id}/signature",
    summary="Show a component's signature",
    responses=problems(404, 409, 410, 503),
)
def signature(component_id: ComponentId, session: ReadSessionDep, parts: PartsDep) -> SignatureOut:
    """Shows who vouches for the file of `GET …/delta`: `tangent verify-component` checks it."""
    return SignatureOut.model_validate(signature_of(session, component_id, parts.signer))


@router.get(
    "/{component_id}/deletion-preview",
    summary="Preview a deletion",
    responses=problems(404, 409, 410, 422, 503),
)
def deletion_preview(
    component_id: ComponentId,
    parts: PartsDep,
    ticket: WatchedTicketDep,
    dataset_id: Annotated[
        str | None, Query(max_length=64, description="to try answers before and after on")
    ] = None,
    split: Annotated[SplitQuery | None, Query(description="of that dataset alone")] = None,
) -> PreviewOut:
    """Shows the changes that a deletion of the component would make; deletes nothing.

    It shows labels and compositions. With a dataset it also shows how the answers of the space's
    components to the images would change: the accuracy by label, and how many first labels differ;
    `trained_on` counts the images that the components were trained on. That is for at most
    `max_report_images` images, see GET /v1/limits, and for two requests at a time.
    """
    return preview_deletion(parts, ticket, component_id, dataset_id, split)


@router.delete("/{component_id}", summary="Unlearn a component", responses=problems(404, 410, 503))
async def delete(
    component_id: ComponentId,
    parts: PartsDep,
    threads: ThreadsDep,
    response: Response,
    probe: ProbeQuery = False,
) -> ReceiptOut:
    """Removes every trace of it and answers with the receipt; no later answer contains it."""
    of_component = partial(change.of_component, component_id=component_id)
    done = await threads.change(partial(unlearn, parts, of_component, probe=probe))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)
