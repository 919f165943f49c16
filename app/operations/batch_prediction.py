"""Batch predictions: all images of a dataset or an archive through a selection, as files.

A request queues one, and app.operations.pass_runner has it computed. An image that cannot be read
has its error in its line, and ends nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from app.access import quotas
from app.archives import listed_packs
from app.archives.listed_packs import DamagedPack, ListedPack
from app.database.sessions import Session, transaction
from app.database.tables import BatchPrediction, Dataset
from app.datasets import datasets, privacy_ledger
from app.datasets.training_images import count_in
from app.errors import NotReady, Problem
from app.files import intents
from app.files.intents import Intent
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.chunks import chunks
from app.inference import ranking
from app.inference.deletion_gate import Ticket
from app.inference.models import Company
from app.operations.batch_results import Named, Results
from app.operations.dataset_pass import Source, image_rows, read_image
from app.operations.pass_attempts import Attempt, Lost
from app.operations.pass_models import Fixed, Opened, fix, open_fixed
from app.operations.prediction_inputs import input_of, within
from app.parts import Parts
from app.passes import batch_predictions, queue
from app.passes.batch_predictions import FORMATS, SCRATCH, Result
from app.store.idempotency import Once
from tangent_composer.schemas.batch_predictions import (
    BatchOptions,
    BatchPredictionIn,
    BatchPredictionOut,
)
from tangent_composer.schemas.predictions import PredictionQuery

RANKING = ("top_k", "labels", "abstain_above", "abstain_below", "deterministic")  # of a request
Image = tuple[Named, bytes | Problem]


class Archive(NamedTuple):
    """An uploaded file, and the code page of its names."""

    file: BinaryIO
    code_page: str | None = None


def queue_of_dataset(
    parts: Parts, ticket: Ticket, request: BatchPredictionIn, once: Once
) -> BatchPredictionOut:
    """Queue the prediction of a dataset's images, once for an idempotency key.

    Raises:
        Forbidden: `quota_exceeded`.
        TooManyRequests: `queue_full`.
        Invalid: `unknown_label`, `split_empty`.
        NotFound, Gone, Conflict, Invalid, NotReady: as `fix`, and as `batch_predictions.add`.
    """
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, request.dataset_id)
        privacy_ledger.require_private(dataset, "a batch prediction with its true labels")
        if (known := once.known(session, request)) is not None:
            return BatchPredictionOut.of(batch_predictions.get(session, known))
        _check_room(session, parts)
    count = count_in(dataset, request.split)
    ticket.enter()
    row = _row(_fixed(parts, request), request, count)
    parts.count_images(count)  # last, so that nobody waits for what was refused
    row.dataset_id, row.split = dataset.id, request.split
    return _added(parts, ticket, once, request, row, dataset=dataset)


def queue_of_archive(
    parts: Parts, ticket: Ticket, archive: Archive, options: BatchOptions, once: Once
) -> BatchPredictionOut:
    """Check the archive, and queue the prediction of its images, once for an idempotency key.

    Raises:
        Problem: as `app.archives.listed_packs.receive`, and as `queue_of_dataset`.
    """
    with transaction(parts.reading) as session:  # before the archive is read, which takes long
        if not (is_repeated := once.is_used(session)):
            _check_room(session, parts)
    if not is_repeated:
        _fixed(parts, options)
    scratch = parts.blobs.scratch_path(SCRATCH)
    checked = listed_packs.receive(archive.file, scratch, parts.settings, archive.code_page)
    with checked as pack:
        request = {"options": options, "sha256": pack.sha256, "code_page": archive.code_page}
        with transaction(parts.reading) as session:
            if (known := once.known(session, request)) is not None:
                return BatchPredictionOut.of(batch_predictions.get(session, known))
        id_ = batch_predictions.new_id(parts.sessions)
        key = batch_predictions.archive_key(id_)
        with intents.store(parts.sessions, parts.blobs, pack.pack, key) as intent:
            ticket.enter()
            row = _row(_fixed(parts, options), options, pack.num_images)
            parts.count_images(pack.num_images)
            row.id, row.bytes, row.archive = id_, pack.size, _described(pack)
            return _added(parts, ticket, once, request, row, archive=intent)


def _check_room(session: Session, parts: Parts) -> None:
    queue.check_room(session, parts.settings.max_queued_jobs)
    quotas.check(session, max_batch_predictions=1)


def _fixed(parts: Parts, options: BatchOptions) -> Fixed:
    return fix(parts, options, lambda labels: ranking.columns(labels, options.labels))


def _row(fixed: Fixed, options: BatchOptions, total: int) -> BatchPrediction:
    """Return a new row, which its caller and `batch_predictions.add` complete."""
    model = fixed.model | options.model_dump(include=set(RANKING))
    return BatchPrediction(
        space=fixed.selection["space"],
        selection={**fixed.selection, queue.UNAVAILABLE: fixed.unavailable},
        model=model,
        total=total,
    )


def _described(pack: ListedPack) -> dict[str, Any]:
    return {
        "list_at": pack.list_at,
        "sha256": pack.sha256,
        "bytes": pack.bytes,
        "num_images": pack.num_images,
        "rejected": pack.rejected.listed,
        "num_rejected": pack.rejected.count,
    }


def _added(
    parts: Parts,
    ticket: Ticket,
    once: Once,
    request: Any,
    row: BatchPrediction,
    *,
    dataset: Dataset | None = None,
    archive: Intent | None = None,
) -> BatchPredictionOut:
    """Store the row; leave the gate, and wake who computes it."""
    with transaction(parts.sessions) as session:

        def add() -> str:
            return batch_predictions.add(
                session,
                row,
                dataset=dataset,
                archive=archive,
                max_queued=parts.settings.max_queued_jobs,
            ).id

        added = once.run(session, request, add, status=202)
        shown = BatchPredictionOut.of(batch_predictions.get(session, added))
    ticket.leave()
    parts.passes.ring()
    return shown


def cancel_batch_prediction(parts: Parts, id_: str) -> BatchPredictionOut:
    """Cancel the batch prediction; from the commit on it is cancelled, and its archive is gone.

    Raises:
        Conflict, NotFound: as `batch_predictions.cancel`.
    """
    with transaction(parts.sessions) as session:
        return BatchPredictionOut.of(batch_predictions.cancel(session, parts.blobs, id_))


def delete_batch_prediction(parts: Parts, id_: str) -> None:
    """Delete the batch prediction with its files, also one that is being computed.

    Raises:
        NotFound: as `batch_predictions.get`.
    """
    with transaction(parts.sessions) as session:
        batch_predictions.remove(session, parts.blobs, id_)


def compute(parts: Parts, attempt: Attempt) -> None:
    """Write the results of all images, and publish them.

    Raises:
        Lost, Stopping: the attempt is over, or the process.
        Problem: as the engine's, and as `require_unchanged`.
    """
    with transaction(parts.reading) as session:
        row = batch_predictions.get(session, attempt.held.id)
        if row.model is None:
            raise Lost
        dataset = None if row.dataset_id is None else datasets.get(session, row.dataset_id)
        opened, model = open_fixed(parts, session, row), row.model
    if dataset is not None:
        images = _of_dataset(parts, Source(opened.space, opened.parts, dataset, row.split))
    elif row.archive_key is not None:
        images = _of_archive(parts, row.archive_key, (row.archive or {})["list_at"])
    else:
        raise Lost
    query = PredictionQuery(**{name: model.get(name) for name in RANKING})
    paths = {name: parts.blobs.scratch_path(attempt.held.id) for name in FORMATS}
    try:
        with Results(paths, query.top_k) as results:
            _write(attempt, images, partial(_answers, parts, attempt, opened, query), results)
        attempt.check_row()
        _publish(parts, attempt, results)
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


def _of_dataset(parts: Parts, source: Source) -> Iterator[list[Image]]:
    for rows in image_rows(parts, source):
        chunk: list[Image] = []
        for row in rows:
            try:
                file: bytes | Problem = read_image(parts, source, row)
            except NotReady as damaged:
                file = damaged
            chunk.append((Named(row.path, row.sha256, row.id, row.label), file))
        yield chunk


def _of_archive(parts: Parts, key: str, list_at: int) -> Iterator[list[Image]]:
    pack = parts.blobs.path(key, must_exist=False)
    try:
        for some in chunks(listed_packs.listed(pack, list_at), lambda image: image.length):
            chunk: list[Image] = []
            for image in some:
                try:
                    file: bytes | Problem = image.read(pack)
                except DamagedPack as damaged:
                    file = NotReady("image_damaged", str(damaged))
                chunk.append((Named(image.path, image.sha256), file))
            yield chunk
    except DamagedPack as damaged:
        raise NotReady("archive_damaged", f"{damaged}: send the archive again") from damaged


def _write(
    attempt: Attempt,
    images: Iterator[list[Image]],
    answers: Callable[[Sequence[bytes | Problem]], Iterator[Any]],
    results: Results,
) -> None:
    for chunk in images:
        found = answers([file for _, file in chunk])
        for (named, _), answer in zip(chunk, found, strict=True):
            results.add(named, answer)
        attempt.done += len(chunk)


def _answers(
    parts: Parts,
    attempt: Attempt,
    opened: Opened,
    query: PredictionQuery,
    files: Sequence[bytes | Problem],
) -> Iterator[Any]:
    """Yield every image's answer, or what is wrong with it."""
    attempt.check_row()
    budget = Budget(times=ACCEPTED_TIMES, is_patient=True)
    images = [within(file, parts.settings.max_image_bytes) for file in files]
    good = [image for image in images if isinstance(image, bytes)]
    decoded = iter([input_of(each) for each in parts.spaces.pixels(opened.space, good, budget)])
    inputs = [next(decoded) if isinstance(image, bytes) else image for image in images]
    pixels = [each for each in inputs if not isinstance(each, Problem)]
    answers: Iterator[Any] = iter(())
    if pixels:
        company: Company = "each" if query.deterministic else "alone"
        passed = attempt.passed(opened.model, pixels, company, opened.judge)
        columns = ranking.columns(passed.labels, query.labels)
        answers = ranking.answers(passed, columns, query)
    for each in inputs:
        yield each if isinstance(each, Problem) else next(answers)


def _publish(parts: Parts, attempt: Attempt, results: Results) -> None:
    """Put the files in their places, then have the row name them: both or neither."""
    stored: dict[str, Result] = {}
    with ExitStack() as unless_settled:
        for name, path in results.paths.items():
            size = path.stat().st_size
            key = batch_predictions.results_key(attempt.held, name)
            blob = intents.store(parts.sessions, parts.blobs, path, key)
            stored[name] = Result(unless_settled.enter_context(blob), results.sha256(name), size)
        with transaction(parts.sessions) as session:
            errors = results.num_errors
            if not batch_predictions.publish(session, parts.blobs, attempt.held, stored, errors):
                raise Lost
