"""Components: routes to train, import, follow, download and delete them."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Header, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse

from app.api.http import etags, server_sent_events, unconfirmed
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    ThreadsDep,
    TicketDep,
)
from app.api.http.open_file import OpenFileResponse
from app.api.http.spooling import OF_ONE_FILE, SpoolingRoute
from app.operations.component_import import Received, import_component
from app.operations.downloads import component_file
from app.operations.recomputation import verify_component
from app.operations.training import cancel_training, events_after, queue_training, retrain
from app.receipts.component_signature import signature_of
from app.schemas.components import (
    ComponentIn,
    ComponentOut,
    EventOut,
    ImportedComponent,
    SignatureOut,
    Status,
)
from app.schemas.names import Name
from app.schemas.pages import Listing
from app.schemas.previews import PreviewOut
from app.schemas.problems import problems
from app.schemas.receipts import ReceiptOut
from app.schemas.verifications import ComponentVerificationOut
from app.store import components
from app.unlearning import change
from app.unlearning.preview import preview_deletion
from app.unlearning.unlearn import unlearn

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


@router.post(
    "/import",
    status_code=201,
    summary="Import a component",
    form_limits=OF_ONE_FILE,
    responses=problems(409, 410, 413, 422),
)
def import_(
    file: UploadFile,
    parts: PartsDep,
    once: OnceDep,
    response: Response,
    name: Annotated[Name | None, Form()] = None,
    allow_duplicate: Annotated[
        bool, Form(description="import a file that a component of the space has already")
    ] = False,
) -> ImportedComponent:
    """Takes a file from `GET …/delta` of a service with the same space; it is ready at once.

    A file that a ready component has already is refused, as answers by both count its images twice.
    """
    shown = import_component(parts, Received(file.file, file.filename, name, allow_duplicate), once)
    response.headers["Location"] = f"/v1/components/{shown.id}"
    return shown


@router.get("", summary="List components", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    status: Annotated[Status | None, Query()] = None,
    space: Annotated[str | None, Query(max_length=64)] = None,
) -> Listing[ComponentOut]:
    """Lists components by age, a page at a time; `status` and `space` narrow the list."""
    rows = components.list_(
        session, after=page.after, limit=page.limit + 1, status=status, space=space
    )
    return page.listing(rows, ComponentOut.of)


@router.get("/{component_id}", summary="Show a component", responses=problems(404, 410))
def get(session: ReadSessionDep, component_id: ComponentId) -> ComponentOut:
    """Shows the component as it is now; 410 with its receipt after its deletion."""
    return ComponentOut.of(components.get(session, component_id))


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
    if EVENT_STREAM in accept:
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
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends the safetensors file, whole or by Range; its ETag is its SHA-256."""
    file = component_file(parts, ticket, component_id, partial(etags.names, if_none_match))
    headers = {"ETag": etags.quoted(file.version), "Cache-Control": "private, no-cache"}
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
    responses=problems(404, 409, 410, 503),
)
def deletion_preview(
    component_id: ComponentId,
    parts: PartsDep,
    ticket: TicketDep,
    dataset_id: Annotated[
        str | None, Query(max_length=64, description="to try answers before and after on")
    ] = None,
) -> PreviewOut:
    """Shows the changes that a deletion of the component would make; deletes nothing.

    It shows labels and compositions. With a dataset it also shows how the answers of the space's
    components to the images would change: the accuracy by label, and how many first labels differ.
    """
    return preview_deletion(parts, ticket, component_id, dataset_id)


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
