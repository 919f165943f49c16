"""Evaluations: a dataset's images through a selection; only the counts are stored."""

from collections import Counter, defaultdict
from typing import Any

from app.database.sessions import transaction
from app.database.tables import Dataset
from app.inference.deletion_gate import Ticket
from app.inference.models import Model, Passed
from app.inference.selection import (
    contents,
    read_consistently,
    selection_fields,
    unavailable_components,
)
from app.operations.dataset_pass import dataset_pass
from app.parts import Parts
from app.schemas.evaluations import EvaluationIn, EvaluationOut
from app.store import datasets, evaluations, quotas
from app.store.compositions import Selection
from app.store.idempotency import Once

CHUNK = 64  # images in memory at a time


def evaluate(parts: Parts, ticket: Ticket, request: EvaluationIn, once: Once) -> EvaluationOut:
    """Evaluate the selection and store the result, once for an idempotency key.

    Raises:
        Forbidden: `quota_exceeded`.
        NotFound, Gone, Conflict, Invalid, NotReady: as `read_consistently` and `dataset_pass`.
    """
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, request.dataset_id)
        if (known := once.known(session, request)) is not None:
            return EvaluationOut.of(evaluations.get(session, known))
        quotas.check(session, max_evaluations=1)
    parts.count_images(dataset.num_images)
    # Only composing and storing keep deletions waiting, not the long computation in between.
    ticket.enter()
    selection, model = read_consistently(
        parts.reading,
        parts.engine,
        request,
        lambda found: (found, _composed(parts, found)),
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
    )
    ticket.leave()
    used, missed = selection_fields(selection), unavailable_components(selection)
    result = _evaluated(parts, selection, model, dataset)
    ticket.read_as_of_now()
    ticket.enter()
    with transaction(parts.sessions) as session:

        def store() -> str:
            return evaluations.add(
                session, selection=used, unavailable=missed, dataset=dataset, result=result
            ).id

        row = evaluations.get(session, once.run(session, request, store))
        shown = EvaluationOut.of(row)
    ticket.hand_over([dataset.id, *contents(selection)])
    return shown


def _composed(parts: Parts, selection: Selection) -> Model:
    """Return the selection's model, composed, so that a missing file is noticed now."""
    model = parts.spaces.model(selection.space, *selection.served)
    parts.engine.compose(model)
    return model


def _evaluated(
    parts: Parts, selection: Selection, model: Model, dataset: Dataset
) -> dict[str, Any]:
    """Return the counts over all images of the dataset."""
    confusion: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def passed(pixels: list[Any]) -> Passed:
        return parts.engine.run(model, pixels)

    for rows, found in dataset_pass(parts, selection, dataset, passed, chunk=CHUNK):
        for row, column in zip(rows, found.logits.argmax(axis=1), strict=True):
            confusion[row.label][found.labels[column]] += 1
    return evaluations.result_of(confusion)
