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
from app.api.http.list_queries import Age, Filter
from app.api.http.preferences import PreferHeader
from app.api.http.scopes import ScopedRoute
from app.database.tables import Evaluation
from app.operations.evaluation import cancel_evaluation, ended_evaluation, queue_evaluation
from app.passes import answers, evaluations, lists
from tangent_composer.schemas.evaluations import (
    AnsweredImageOut,
    Change,
    EvaluationIn,
    EvaluationOut,
)
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.passes import PassStatus
from tangent_composer.schemas.problems import problems

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
    split: Annotated[SplitQuery | None, Query(description="in place of the body's")] = None,
) -> EvaluationOut:
    """Queues the evaluation of the selection as it is now; Location shows its progress.

    With `Prefer: wait` it answers when the evaluation has ended, with 201, or after a minute. A
    deletion of a part of it ends it, as `invalidated`. An image counts as right when its own label
    is ranked first among the selection's labels. `trained_on` counts the images that its components
    were trained on, and `note` says what that means; `split` names the part of the dataset to take.
    """
    if split is not None:
        body = body.in_split(split)
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
    space: Filter = None,
    status: Annotated[PassStatus | None, Query()] = None,
    dataset_id: Filter = None,
    component_id: Annotated[
        str | None, Query(max_length=64, description="those that it has a part in")
    ] = None,
    order: Age = "created_at",
) -> Listing[EvaluationOut]:
    """Lists evaluations a page at a time; the filters narrow the list."""
    same = {"space": space, "dataset_id": dataset_id, "component_id": component_id}
    rows = lists.passes(session, Evaluation, page.asked(order), **same, status=status)
    return page.listing(rows, EvaluationOut.of)


@router.get("/{evaluation_id}", summary="Show an evaluation", responses=problems(404))
def get(session: ReadSessionDep, evaluation_id: EvaluationId) -> EvaluationOut:
    """Shows the evaluation; after a deletion of its parts it is invalidated, without numbers."""
    return EvaluationOut.of(evaluations.get(session, evaluation_id))


@router.get(
    "/{evaluation_id}/images",
    summary="List an evaluation's images",
    responses=problems(404, 409, 422),
)
def list_images(
    session: ReadSessionDep,
    page: PageDep,
    evaluation_id: EvaluationId,
    wrong: Annotated[
        bool | None, Query(description="only wrong answers, or only right ones")
    ] = None,
    label: Annotated[str | None, Query(max_length=255, description="the images' own")] = None,
    answered: Annotated[str | None, Query(max_length=255, description="by the selection")] = None,
    compared_to: Annotated[
        str | None,
        Query(max_length=64, description="an evaluation of the same dataset: changed answers only"),
    ] = None,
    change: Annotated[
        Change | None, Query(description="changed so, of the answers that are compared")
    ] = None,
) -> Listing[AnsweredImageOut]:
    """Lists images with their labels and the answers, in the dataset's order, a page at a time.

    They are there as long as the evaluation's numbers are: a deletion or another change of what was
    evaluated takes both.
    """
    asked = answers.Asked(wrong, label, answered, change)
    found = answers.list_(
        session,
        evaluation_id,
        asked,
        compared_to=compared_to,
        after=page.after_id,
        limit=page.limit + 1,
    )
    by_id = {each.image.id: each for each in found}
    rows = [each.image for each in found]
    return page.listing(rows, lambda row: AnsweredImageOut.of(by_id[row.id]))


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
