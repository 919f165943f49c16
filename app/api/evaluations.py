"""Evaluations of a selection on a dataset, within the request; only the counts are stored."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ReadSessionDep,
    SessionDep,
    TicketDep,
)
from app.api.http.scopes import ScopedRoute
from app.operations.evaluation import evaluate
from app.schemas.evaluations import EvaluationIn, EvaluationOut
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.store import evaluations

router = APIRouter(prefix="/evaluations", tags=["evaluations"], route_class=ScopedRoute)


@router.post(
    "",
    status_code=201,
    summary="Evaluate a selection on a dataset",
    responses=problems(404, 409, 410, 422, 503),
)
def create(
    body: EvaluationIn, parts: PartsDep, once: OnceDep, ticket: TicketDep, response: Response
) -> EvaluationOut:
    """Answers when every image of the dataset has been predicted; a deletion meanwhile ends it.

    An image counts as right when its own label is ranked first among the selection's labels.
    """
    shown = evaluate(parts, ticket, body, once)
    response.headers["Location"] = f"/v1/evaluations/{shown.id}"
    return shown


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
def get(
    session: ReadSessionDep, evaluation_id: Annotated[str, Path(max_length=64)]
) -> EvaluationOut:
    """Shows the evaluation; after a deletion of its parts it is invalidated, without numbers."""
    return EvaluationOut.of(evaluations.get(session, evaluation_id))


@router.delete(
    "/{evaluation_id}",
    status_code=204,
    summary="Delete an evaluation",
    responses=problems(404),
)
def delete(session: SessionDep, evaluation_id: Annotated[str, Path(max_length=64)]) -> None:
    """Removes the numbers; what was evaluated stays."""
    evaluations.remove(session, evaluation_id)
