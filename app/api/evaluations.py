"""Evaluations of a selection on a dataset: queued, followed, cancelled; the counts are stored."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from app.api.http import preferences
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ReadSessionDep,
    SessionDep,
    TicketDep,
)
from app.api.http.preferences import PreferHeader
from app.api.http.scopes import ScopedRoute
from app.operations.evaluation import cancel_evaluation, ended_evaluation, queue_evaluation
from app.passes import evaluations
from app.schemas.evaluations import EvaluationIn, EvaluationOut
from app.schemas.pages import Listing
from app.schemas.problems import problems

router = APIRouter(prefix="/evaluations", tags=["evaluations"], route_class=ScopedRoute)
EvaluationId = Annotated[str, Path(max_length=64)]


@router.post(
    "",
    status_code=202,
    summary="Evaluate a selection on a dataset",
    responses=problems(404, 409, 410, 422, 429, 503)
    | {201: {"model": EvaluationOut, "description": "It has ended while the request waited"}},
)
async def create(
    body: EvaluationIn,
    parts: PartsDep,
    once: OnceDep,
    ticket: TicketDep,
    response: Response,
    prefer: PreferHeader = None,
) -> EvaluationOut:
    """Queues the evaluation of the selection as it is now; Location shows its progress.

    With `Prefer: wait` it answers when the evaluation has ended, with 201, or after a minute. A
    deletion of a part of it ends it, as `invalidated`. An image counts as right when its own label
    is ranked first among the selection's labels.
    """
    shown = await run_in_threadpool(queue_evaluation, parts, ticket, body, once)
    response.headers["Location"] = f"/v1/evaluations/{shown.id}"
    seconds = preferences.wait_of(prefer)
    if seconds is None:
        return shown
    response.headers["Preference-Applied"] = "wait"
    look = partial(ended_evaluation, parts, ticket, shown.id)
    ended = await preferences.ended(look, seconds, parts.passes.ending.is_set)
    if ended is None:
        return shown
    response.status_code = 201
    return ended


@router.get("", summary="List evaluations", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    dataset_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Listing[EvaluationOut]:
    """Lists evaluations by age, a page at a time; `dataset_id` narrows the list."""
    rows = evaluations.list_(session, after=page.after, limit=page.limit + 1, dataset_id=dataset_id)
    return page.listing(rows, EvaluationOut.of)


@router.get("/{evaluation_id}", summary="Show an evaluation", responses=problems(404))
def get(session: ReadSessionDep, evaluation_id: EvaluationId) -> EvaluationOut:
    """Shows the evaluation; after a deletion of its parts it is invalidated, without numbers."""
    return EvaluationOut.of(evaluations.get(session, evaluation_id))


@router.post(
    "/{evaluation_id}/cancel", summary="Cancel an evaluation", responses=problems(404, 409)
)
def cancel(evaluation_id: EvaluationId, parts: PartsDep) -> EvaluationOut:
    """Cancels the evaluation at once; its computing stops within a few seconds."""
    return cancel_evaluation(parts, evaluation_id)


@router.delete(
    "/{evaluation_id}",
    status_code=204,
    summary="Delete an evaluation",
    responses=problems(404),
)
def delete(session: SessionDep, evaluation_id: EvaluationId) -> None:
    """Removes the numbers; what was evaluated stays."""
    evaluations.remove(session, evaluation_id)
