"""Weight fitting: compute every component's logits on a dataset, then solve for the weights."""

from dataclasses import dataclass, field
from typing import Any

from app.database.sessions import Session, transaction
from app.database.tables import Dataset
from app.errors import Conflict, Invalid, NotReady
from app.inference.deletion_gate import Ticket
from app.inference.models import Effects, WeightProblem
from app.inference.opened_spaces import source_of
from app.inference.selection import contents, read_consistently, selection_fields
from app.operations.dataset_pass import Source, dataset_pass
from app.parts import Parts
from app.schemas.compositions import CompositionOut, SolveIn
from app.schemas.predictions import SelectionQuery
from app.store import compositions, datasets, fitted_weights
from app.store.composition_versions import precondition
from app.store.compositions import Selection
from app.store.idempotency import Once

CHUNK = 64  # images in memory at a time
MIN_IMAGES = 10
HELD_OUT = 5  # one image in so many


@dataclass
class Gathered:
    """The examples so far, with marks on the ones held out."""

    chunks: list[Effects] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)
    held_out: list[bool] = field(default_factory=list)


def fit_weights(
    parts: Parts, ticket: Ticket, name: str, request: SolveIn, if_match: str | None, once: Once
) -> CompositionOut:
    """Solve for the composition's weights on a dataset and store them, once for a key.

    Raises:
        Conflict: `components_retraining`.
        Invalid: `no_common_label`, `too_few_images`, `solve_too_large`, `problem_indefinite`.
        StaleVersion, Conflict, Gone, NotFound: as `fitted_weights.store` and `read_consistently`.
    """
    with transaction(parts.reading) as session:
        if (known := once.known(session, request)) is not None:
            return _shown(session, known)
        dataset = datasets.get(session, request.dataset_id)
    parts.count_images(dataset.num_images)
    # Only reading and storing keep deletions waiting, not the long computation in between.
    ticket.enter()
    selection = _read(parts, name, dataset, if_match)
    ticket.leave()
    examples = _gathered(parts, selection, dataset)
    weights, solved = _solved(parts, request, selection, examples, dataset.num_images)
    ticket.read_as_of_now()
    ticket.enter()
    with transaction(parts.sessions) as session:

        def store() -> str:
            stored = fitted_weights.store(
                session,
                name,
                etag=str(selection.etag),
                selection=selection_fields(selection),
                weights=weights,
                dataset=dataset,
                solved=solved,
            )
            return stored.name

        shown = _shown(session, once.run(session, request, store, status=200))
    ticket.hand_over([dataset.id, *contents(selection)])
    return shown


def _read(parts: Parts, name: str, dataset: Dataset, if_match: str | None) -> Selection:
    """Return the composition's selection, whose weights can be fitted."""

    def checked(selection: Selection) -> Selection:
        _check(parts, selection, dataset, if_match)
        return selection

    return read_consistently(
        parts.reading,
        parts.engine,
        SelectionQuery(composition=name, rule="average"),
        checked,
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
    )


def _check(parts: Parts, selection: Selection, dataset: Dataset, if_match: str | None) -> None:
    assert selection.composition is not None
    precondition(selection.etag, if_match)
    if selection.retraining:
        raise Conflict(
            "components_retraining",
            f"{', '.join(selection.retraining[:20])} of the composition are being trained again: "
            "solve once they are ready, as weights are fitted to all members",
            retraining=selection.retraining,
        )
    if selection.damaged:
        raise NotReady(
            "component_damaged",
            f"{', '.join(selection.damaged[:20])} of the composition are damaged: retrain or "
            "delete these first, as weights are fitted to all members",
            components=selection.damaged,
        )
    labels = labels_of(selection)
    usable = sum(count for label, count in dataset.labels.items() if label in labels)
    if not usable:
        raise Invalid(
            "no_common_label",
            f"dataset {dataset.id} has no label that the composition's components know: "
            f"they know {', '.join(labels[:20])}",
        )
    count, settings = len(selection.members), parts.settings
    most, numbers = settings.max_attributed_components, settings.max_solve_numbers
    if count > most or usable * len(labels) * count > numbers:
        raise Invalid(
            "solve_too_large",
            f"{usable} images of {len(labels)} labels by {count} components are too much, the "
            f"most are {most} components, and {numbers} of the product: solve on a smaller "
            "dataset or with fewer components",
        )


def _gathered(parts: Parts, selection: Selection, dataset: Dataset) -> Gathered:
    """Return the logits of all images whose label the components know."""
    found, labels = Gathered(), labels_of(selection)
    key = parts.spaces.key(selection.space)
    sources = [source_of(part) for part, _ in selection.members]

    def effects(pixels: list[Any]) -> Effects:
        return parts.engine.effects(key, sources, pixels, labels)

    images = Source.of(selection, dataset)
    for rows, chunk in dataset_pass(parts, images, effects, chunk=CHUNK, labels=labels):
        found.chunks.append(chunk)
        found.truth += [labels.index(row.label) for row in rows]
        found.held_out += [int(row.sha256, 16) % HELD_OUT == 0 for row in rows]
    return found


def _shown(session: Session, name: str) -> CompositionOut:
    row = compositions.get(session, name)
    return CompositionOut.of(row, compositions.etag(row))


def labels_of(selection: Selection) -> tuple[str, ...]:
    """Return the labels that the selection's components rank, sorted."""
    return tuple(sorted({label for part, _ in selection.members for label in part.labels}))


def _solved(
    parts: Parts, request: SolveIn, selection: Selection, found: Gathered, num_images: int
) -> tuple[list[float], dict[str, Any]]:
    """Return the weights, and the report on them for the client.

    Raises:
        Invalid: `too_few_images`.
        IndefiniteProblem: no weights are the best, or more than one choice is.
    """
    num_holdout = sum(found.held_out)
    num_fitted = len(found.truth) - num_holdout
    _check_number(num_fitted, num_holdout)
    betas = [float(part.hyperparameters.get("beta", 1.0)) for part, _ in selection.members]
    problem = WeightProblem(
        chunks=found.chunks,
        truth=found.truth,
        held_out=found.held_out,
        objective=request.objective,
        l2=request.l2,
        constraint=request.constraint,
        beta=sum(betas) / len(betas),
    )
    solution = parts.engine.fit_weights(problem)
    return solution.weights, {
        "dataset_id": request.dataset_id,
        "objective": request.objective,
        "l2": request.l2,
        "constraint": request.constraint,
        "num_images": num_fitted,
        "num_left_out": num_images - len(found.truth),
        "training_objective": solution.objective,
        "uniform_training_objective": solution.uniform_objective,
        "num_holdout": num_holdout,
        "holdout_accuracy": solution.holdout_accuracy,
        "uniform_holdout_accuracy": solution.uniform_holdout_accuracy,
        "members_trained_on_dataset": [
            part.id for part, _ in selection.members if part.dataset_id == request.dataset_id
        ],
    }


def _check_number(fitted: int, held_out: int) -> None:
    if fitted + held_out < MIN_IMAGES or not fitted or not held_out:
        raise Invalid(
            "too_few_images",
            f"{fitted} images to fit and {held_out} held out are too few: the least are "
            f"{MIN_IMAGES} of labels that the components know, some of each kind; one in "
            f"{HELD_OUT} is held out, by its hash",
        )
