"""Components: trained or imported, watched, downloaded, and unlearned."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Form, Header, Path, Query, Response, UploadFile
from fastapi.responses import FileResponse

from app.api.http import etags, server_sent_events
from app.api.http.deps import (
    BlobsDep,
    EngineDep,
    JobsDep,
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    ReadSessionsDep,
    SessionDep,
    SessionsDep,
    SettingsDep,
    TicketDep,
)
from app.api.http.spooling import SpoolingRoute
from app.errors import NotReady
from app.inference.component_import import accept, add
from app.schemas.components import ComponentIn, ComponentOut, EventOut, Status
from app.schemas.names import Name
from app.schemas.pages import Listing
from app.schemas.previews import PreviewOut
from app.schemas.problems import problems
from app.schemas.receipts import ReceiptOut
from app.store import components, datasets, lineage, spaces
from app.store.blobs import BlobMissing
from app.store.db import on_rollback, transaction
from app.store.tables import new_id
from app.unlearning import change
from app.unlearning.preview import preview_deletion
from app.unlearning.unlearn import unlearn
from tangent import Hyperparameters

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
def create(
    body: ComponentIn, session: SessionDep, jobs: JobsDep, once: OnceDep, response: Response
) -> ComponentOut:
    """Queues the training; Location shows how far it is."""
    space = spaces.get(session, body.space)
    dataset = datasets.get(session, body.dataset_id)
    settings = Hyperparameters.resolve(space.scope, body.hyperparameters)

    def queue() -> str:
        return lineage.queue_training(
            session,
            jobs,
            space=space,
            dataset=dataset,
            name=body.name,
            hyperparameters=settings.as_dict(),
            seed=body.seed,
            tags=body.metadata,
        ).id

    row = components.get(session, once.run(session, body, queue, status=202))
    response.headers["Location"] = f"/v1/components/{row.id}"
    return ComponentOut.of(row)


@router.post(
    "/import", status_code=201, summary="Import a component", responses=problems(409, 410, 413, 422)
)
def import_(
    file: UploadFile,
    blobs: BlobsDep,
    engine: EngineDep,
    settings: SettingsDep,
    reading: ReadSessionsDep,
    sessions: SessionsDep,
    once: OnceDep,
    response: Response,
    name: Annotated[Name | None, Form()] = None,
) -> ComponentOut:
    """A safetensors file from `GET …/delta` of a service with the same space; ready at once."""
    name = name or _title(file.filename)
    component_id = new_id("cmp")
    key = f"components/{component_id}/imported.safetensors"
    with transaction(reading) as session:
        known = spaces.list_(session, after=None, limit=1000)
    accepted = accept(file.file, known, engine, settings, blobs, key=key)
    with transaction(sessions) as session:
        on_rollback(session, lambda: blobs.delete(key))
        row_id = once.run(
            session,
            {"name": name, "sha256": accepted.sha256},
            lambda: add(session, accepted, component_id=component_id, name=name).id,
        )
        shown = ComponentOut.of(components.get(session, row_id))
    if row_id != component_id:  # imported by an earlier request
        blobs.delete(key)
    response.headers["Location"] = f"/v1/components/{row_id}"
    return shown


def _title(filename: str | None) -> str:
    """An imported component's name from its file's: `north.safetensors` is `north`."""
    stem = PurePosixPath(filename or "").stem
    printable = "".join(character for character in stem if character.isprintable())
    return printable.strip()[:200] or "imported"


@router.get("", summary="List components", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    status: Annotated[Status | None, Query()] = None,
    space: Annotated[str | None, Query(max_length=64)] = None,
) -> Listing[ComponentOut]:
    """From the oldest on, a page at a time; of one status or space if it is named."""
    rows = components.list_(
        session, after=page.after, limit=page.limit + 1, status=status, space=space
    )
    return page.listing(rows, ComponentOut.of)


@router.get("/{component_id}", summary="Show a component", responses=problems(404, 410))
def get(session: ReadSessionDep, component_id: ComponentId) -> ComponentOut:
    """The component as it is now; 410 with its receipt once it was deleted."""
    return ComponentOut.of(components.get(session, component_id))


@router.get(
    "/{component_id}/events",
    summary="Follow a component",
    response_model=Listing[EventOut],
    responses=problems(404, 410)
    | {200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}},
)
def follow(
    component_id: ComponentId,
    reading: ReadSessionsDep,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="id of the last event seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> Listing[EventOut] | Response:
    """A page of its events; with `Accept: text/event-stream`, each as it comes, until the last."""
    after = int(last_event_id) if last_event_id else after
    found = server_sent_events.read(reading, component_id, after, limit + 1)
    if EVENT_STREAM in accept:
        return server_sent_events.stream(reading, component_id, after)
    shown, more = found.events[:limit], len(found.events) > limit
    return Listing(data=shown, has_more=more, next=str(shown[-1].id) if more else None)


@router.post(
    "/{component_id}/cancel", summary="Cancel a training", responses=problems(404, 409, 410)
)
def cancel(component_id: ComponentId, sessions: SessionsDep, jobs: JobsDep) -> ComponentOut:
    """The component is cancelled at once; its training stops within two seconds."""
    with transaction(sessions) as session:
        row = components.cancel(session, component_id)
        shown, job_id = ComponentOut.of(row), row.job_id
    jobs.cancel(job_id)
    return shown


@router.get(
    "/{component_id}/delta",
    summary="Download a component",
    response_class=FileResponse,
    responses=problems(404, 409, 410)
    | {
        200: {"content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "the part that Range asks for"},
        304: {"description": "it is the version of If-None-Match"},
    },
)
def delta(
    component_id: ComponentId,
    reading: ReadSessionsDep,
    blobs: BlobsDep,
    ticket: TicketDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The safetensors file, whole or by Range; its ETag is its SHA-256."""
    ticket.enter()  # a deletion waits until the file is out
    with transaction(reading) as session:
        row = components.ready(session, component_id)
    assert row.sha256 is not None and row.blob_key is not None  # a ready component has its file
    headers = {"ETag": etags.quoted(row.sha256), "Cache-Control": "private, no-cache"}
    if etags.names(if_none_match, row.sha256):
        return Response(status_code=304, headers=headers)
    try:
        path = blobs.path(row.blob_key)
    except BlobMissing:
        with transaction(reading) as session:  # deleted by another process just now?
            components.get(session, component_id)
        raise NotReady(
            "component_damaged",
            f"the file of component {component_id} is missing: restore it, or delete the component",
        ) from None
    name = f"{component_id}.safetensors"
    return FileResponse(path, media_type=SAFETENSORS, filename=name, headers=headers)


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
    """What deleting the component would change; deletes nothing.

    Labels and compositions always; with a dataset, how the answers of all of the space's components
    to its images would change: accuracy by label, and how many first labels would be others.
    """
    return preview_deletion(parts, ticket, component_id, dataset_id)


@router.delete("/{component_id}", summary="Unlearn a component", responses=problems(404, 410, 503))
def delete(component_id: ComponentId, parts: PartsDep, probe: ProbeQuery = False) -> ReceiptOut:
    """Removes all there is of it and answers with the receipt; no later answer contains it."""
    receipt = unlearn(
        parts, lambda session: change.of_component(session, component_id), probe=probe
    )
    return ReceiptOut.of(receipt)
