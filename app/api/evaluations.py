"""A dataset through a selection, within the request; the counts are stored, the answers are not."""

from collections import Counter, defaultdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from app.api.http.deps import (
    BlobsDep,
    EngineDep,
    OnceDep,
    PageDep,
    ReadSessionDep,
    ReadSessionsDep,
    Sessions,
    SessionsDep,
    TicketDep,
)
from app.evaluation.dataset_pass import walk
from app.inference.engine import Engine
from app.inference.selection import steady, used
from app.schemas.evaluations import EvaluationIn, EvaluationOut
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.store import datasets, evaluations
from app.store.blobs import LocalBlobs
from app.store.compositions import Selection
from app.store.db import transaction
from app.store.tables import Dataset

CHUNK = 64  # images in memory at a time

router = APIRouter(prefix="/evaluations", tags=["evaluations"])


@router.post(
    "",
    status_code=201,
    summary="Evaluate a selection on a dataset",
    responses=problems(404, 409, 410, 422, 503),
)
def create(
    body: EvaluationIn,
    engine: EngineDep,
    blobs: BlobsDep,
    reading: ReadSessionsDep,
    sessions: SessionsDep,
    once: OnceDep,
    ticket: TicketDep,
    response: Response,
) -> EvaluationOut:
    """Answers when every image of the dataset has been predicted; a deletion in between ends it.

    An image counts as right when its own label is ranked first among the selection's labels.
    """
    with transaction(reading) as session:
        dataset = datasets.get(session, body.dataset_id)
        known = once.known(session, body)
    if known is None:
        # Only the composing and the storing keep deletions waiting, not the long way in between.
        ticket.enter()
        selection, delta = steady(
            reading, engine, body, lambda s: (s, engine.delta(s.space, *s.served))
        )
        ticket.leave()
        result = _run(engine, blobs, reading, selection, delta, dataset)
        ticket.enter()
    with transaction(sessions) as session:

        def store() -> str:
            return evaluations.add(
                session, selection=used(selection), dataset=dataset, result=result
            ).id

        row = evaluations.get(session, known or once.run(session, body, store))
        response.headers["Location"] = f"/v1/evaluations/{row.id}"
        return EvaluationOut.of(row)


def _run(
    engine: Engine,
    blobs: LocalBlobs,
    reading: Sessions,
    selection: Selection,
    delta: Any,
    dataset: Dataset,
) -> dict[str, Any]:
    """The counts over all the dataset's images, a chunk at a time."""
    confusion: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for rows, inputs in walk(engine, blobs, reading, selection, dataset, chunk=CHUNK):
        best = engine.logits(selection.space, inputs, delta).argmax(axis=1)
        for row, column in zip(rows, best, strict=True):
            confusion[row.label][delta.labels[column]] += 1
    return evaluations.result_of(confusion)


@router.get("", summary="List evaluations", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    dataset_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Listing[EvaluationOut]:
    """From the oldest on, a page at a time; those of one dataset if it is named."""
    rows = evaluations.list_(session, after=page.after, limit=page.limit + 1, dataset_id=dataset_id)
    return page.listing(rows, EvaluationOut.of)


@router.get("/{evaluation_id}", summary="Show an evaluation", responses=problems(404))
def get(
    session: ReadSessionDep, evaluation_id: Annotated[str, Path(max_length=64)]
) -> EvaluationOut:
    """The evaluation; invalidated, without its numbers, if a part of it was deleted."""
    return EvaluationOut.of(evaluations.get(session, evaluation_id))
