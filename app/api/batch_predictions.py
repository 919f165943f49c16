"""Batch predictions: a dataset's or an archive's images, computed in the background, as files."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from app.api.http import etags
from app.api.http.batch_forms import BatchRoute, Sent, batch_parser, in_two_forms, refuse_split
from app.api.http.deps import OnceDep, PageDep, PartsDep, ReadSessionDep, TicketDep
from app.api.http.list_queries import Age, Filter
from app.api.http.media_types import preferred
from app.api.http.open_file import OpenFileResponse
from app.api.http.upload_slots import examining
from app.database.tables import BatchPrediction
from app.operations.batch_prediction import (
    Archive,
    cancel_batch_prediction,
    delete_batch_prediction,
    queue_of_archive,
    queue_of_dataset,
)
from app.operations.downloads import results_file
from app.passes import batch_predictions, lists
from tangent_composer.schemas.batch_predictions import BatchPredictionIn, BatchPredictionOut, Format
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.passes import PassStatus
from tangent_composer.schemas.problems import problems

router = APIRouter(prefix="/batch-predictions", tags=["batch-predictions"], route_class=BatchRoute)
Id = Annotated[str, Path(alias="batch_prediction_id", max_length=64)]
MEDIA_TYPES: dict[Format, str] = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}
ACCEPTED: dict[str, Format] = {"application/jsonl": "jsonl", "text/csv": "csv"}


@router.post(
    "",
    status_code=202,
    summary="Predict many images",
    openapi_extra=in_two_forms(),
    responses=problems(400, 404, 409, 410, 413, 415, 422, 429, 503),
)
async def create(
    request: Request,
    sent: Annotated[Sent, Depends(batch_parser)],
    parts: PartsDep,
    once: OnceDep,
    ticket: TicketDep,
    response: Response,
    split: Annotated[
        SplitQuery | None, Query(description="of the dataset, in place of the body's")
    ] = None,
) -> BatchPredictionOut:
    """Queues the images of a dataset, or of an archive, whose files are checked before the answer.

    An archive needs no folders and no labels. The selection is that of now: what becomes ready
    later has no part in it, and a deletion of a part ends it as `invalidated`. Location shows its
    progress, and its results when it is `ready`. The archive's images are kept until it has ended.
    """
    if isinstance(sent.options, BatchPredictionIn):
        options = sent.options
        if split is not None:
            options = options.model_copy(update={"split": split})
        queue = partial(queue_of_dataset, parts, ticket, options, once)
        shown = await run_in_threadpool(queue)
    else:
        refuse_split(split)
        assert sent.file is not None
        async with examining(request) as examination:
            archive = Archive(examination.file(sent.file), sent.code_page)
            queue = partial(queue_of_archive, parts, ticket, archive, sent.options, once)
            shown = await run_in_threadpool(queue)
    response.headers["Location"] = f"/v1/batch-predictions/{shown.id}"
    return shown


@router.get("", summary="List batch predictions", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    space: Filter = None,
    status: Annotated[PassStatus | None, Query()] = None,
    dataset_id: Filter = None,
    component_id: Annotated[
        str | None, Query(max_length=64, description="those that it has a part in")
    ] = None,
    order: Age = "created_at",
) -> Listing[BatchPredictionOut]:
    """Lists batch predictions a page at a time; the filters narrow the list."""
    same = {"space": space, "dataset_id": dataset_id, "component_id": component_id}
    rows = lists.passes(session, BatchPrediction, page.asked(order), **same, status=status)
    return page.listing(rows, BatchPredictionOut.listed)


@router.get("/{batch_prediction_id}", summary="Show a batch prediction", responses=problems(404))
def get(session: ReadSessionDep, id_: Id) -> BatchPredictionOut:
    """Shows status and progress, and what of the archive has no line in the results."""
    return BatchPredictionOut.of(batch_predictions.get(session, id_))


@router.post(
    "/{batch_prediction_id}/cancel",
    summary="Cancel a batch prediction",
    responses=problems(404, 409),
)
def cancel(id_: Id, parts: PartsDep) -> BatchPredictionOut:
    """Cancels it at once, and removes its archive; its computing stops within a few seconds."""
    return cancel_batch_prediction(parts, id_)


@router.delete(
    "/{batch_prediction_id}",
    status_code=204,
    summary="Delete a batch prediction",
    responses=problems(404),
)
def delete(id_: Id, parts: PartsDep) -> None:
    """Removes its results and its archive, also while it is being computed."""
    delete_batch_prediction(parts, id_)


@router.get(
    "/{batch_prediction_id}/results",
    summary="Download the results",
    response_class=FileResponse,
    responses=problems(404, 409, 410, 503)
    | {
        200: {
            "content": {
                "application/jsonl": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            }
        },
        206: {"description": "the part that Range asks for"},
        304: {"description": "it is the version of If-None-Match"},
    },
)
def results(
    id_: Id,
    parts: PartsDep,
    ticket: TicketDep,
    format_: Annotated[
        Format | None, Query(alias="format", description="else by Accept, else jsonl")
    ] = None,
    accept: Annotated[str, Header()] = "application/jsonl",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends a line for each image, in the order of the dataset or the archive.

    A line has the image's path and SHA-256, for a dataset's image its id and its own label too, and
    the best labels as a prediction has them, or the code of what is wrong with the image. The ETag
    is the file's SHA-256. Cells of CSV hold paths and labels as they are, whatever a spreadsheet
    would take them for.
    """
    name: Format = format_ or ACCEPTED[preferred(accept, list(ACCEPTED))]
    file = results_file(parts, ticket, id_, name, partial(etags.names, if_none_match))
    headers = {
        "ETag": etags.quoted(file.version),
        "Cache-Control": "private, no-cache",
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }
    if file.file is None:
        return Response(status_code=304, headers=headers)
    return OpenFileResponse(
        file.file,
        ticket,
        file.is_stored,
        media_type=MEDIA_TYPES[name],
        filename=f"{id_}.{name}",
        headers=headers,
    )
