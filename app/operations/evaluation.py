"""Evaluations: a dataset's images through a selection; only the counts are stored.

A request queues one, and app.operations.pass_runner has it computed.
"""

from collections import Counter, defaultdict
from functools import partial
from typing import Any

from app.access import quotas
from app.database.sessions import transaction
from app.datasets import datasets, privacy_ledger
from app.datasets.training_images import count_in
from app.datasets.training_overlap import training_overlap
from app.inference.deletion_gate import Ticket
from app.inference.models import Passed
from app.inference.reliability import Reliability
from app.operations.dataset_pass import Source, dataset_pass
from app.operations.pass_attempts import Attempt, Lost
from app.operations.pass_models import fix, open_fixed
from app.parts import Parts
from app.passes import evaluations, queue
from app.passes.answers import Answers
from app.store.idempotency import Once
from tangent_composer.schemas.evaluations import EvaluationIn, EvaluationOut


def queue_evaluation(
    parts: Parts, ticket: Ticket, request: EvaluationIn, once: Once
) -> EvaluationOut:
    """Queue the evaluation of the selection as it is now, once for an idempotency key.

    Raises:
        Forbidden: `quota_exceeded`.
        TooManyRequests: `queue_full`.
        NotFound, Gone, Conflict, Invalid, NotReady: as `fix`, and as `evaluations.add`.
    """
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, request.dataset_id)
        privacy_ledger.require_private(dataset, "an evaluation")
        if (known := once.known(session, request)) is not None:
            return EvaluationOut.of(evaluations.get(session, known))
        queue.check_room(session, parts.settings.max_queued_jobs)
        quotas.check(session, max_evaluations=1)
    ticket.enter()
    fixed = fix(parts, request)
    parts.count_images(count_in(dataset, request.split))  # last: nobody waits for what was refused
    with transaction(parts.sessions) as session:

        def add() -> str:
            return evaluations.add(
                session,
                selection=fixed.selection,
                unavailable=fixed.unavailable,
                model=fixed.model,
                dataset=dataset,
                split=request.split,
                max_queued=parts.settings.max_queued_jobs,
            ).id

        row = evaluations.get(session, once.run(session, request, add, status=202))
        shown = EvaluationOut.of(row)
    ticket.leave()
    parts.passes.ring()
    return shown


def ended_evaluation(parts: Parts, ticket: Ticket, evaluation_id: str) -> EvaluationOut | None:
    """Return the evaluation, if it has ended, as of the epoch that the ticket then has.

    Raises:
        NotFound: `evaluation_not_found`.
        NotReady: `lease_expired`.
    """
    read = partial(evaluations.get, evaluation_id=evaluation_id)
    with transaction(parts.reading) as session:
        if read(session).status in queue.ACTIVE:
            return None
    ticket.read_as_of_now()
    with transaction(parts.reading) as session:
        shown = EvaluationOut.of(read(session))
    ticket.hand_over(_contents(shown))
    return shown


def cancel_evaluation(parts: Parts, evaluation_id: str) -> EvaluationOut:
    """Cancel the evaluation; from the commit on it is cancelled, and whoever computes it notices.

    Raises:
        Conflict, NotFound: as `evaluations.cancel`.
    """
    with transaction(parts.sessions) as session:
        return EvaluationOut.of(evaluations.cancel(session, evaluation_id))


def compute(parts: Parts, attempt: Attempt) -> None:
    """Count the answers to all images of the dataset, and publish the counts.

    Raises:
        Lost, Stopping: the attempt is over, or the process.
        Problem: as `dataset_pass` and the engine.
    """
    with transaction(parts.reading) as session:
        row = evaluations.get(session, attempt.held.id)
        if row.dataset_id is None or row.model is None:
            raise Lost
        dataset = datasets.get(session, row.dataset_id)
        opened = open_fixed(parts, session, row)
    confusion: defaultdict[str, Counter[str]] = defaultdict(Counter)
    answers, reliability, calibration = Answers(), Reliability(), None

    def passed(pixels: list[Any]) -> Passed:
        return attempt.passed(opened.model, pixels, "mixed", opened.judge)

    source = Source(opened.space, opened.parts, dataset, row.split)
    for rows, found in dataset_pass(parts, source, passed, is_patient=True):
        for image, column in zip(rows, found.logits.argmax(axis=1), strict=True):
            confusion[image.label][found.labels[column]] += 1
            answers.note(image.id, found.labels[column])
        reliability.add(found, [image.label for image in rows])
        calibration = found.calibration
        attempt.done += len(rows)
    with transaction(parts.reading) as session:
        members = [part["id"] for part in row.selection["components"]]
        overlap = training_overlap(session, members, dataset.id, row.split, row.space)
    result = evaluations.result_of(confusion) | overlap.among()
    if calibration is not None:
        result["calibration"] = calibration._asdict()
        result["probabilities"] = reliability.result()
    attempt.check()
    with transaction(parts.sessions) as session:
        kept = answers.row(attempt.held.id)
        if not evaluations.publish(session, attempt.held, result, kept):
            raise Lost


def _contents(shown: EvaluationOut) -> list[str]:
    """Return what the answer was made of, in the terms of `Ticket.hand_over`."""
    used = [shown.id, *(part.sha256 for part in shown.components)]
    return [*used, shown.dataset_id] if shown.dataset_id else used
