"""Weight fitting: compute every component's logits on a dataset, then solve for the weights."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.archives.splits import TEST, VAL
from app.database.sessions import Session, transaction
from app.database.tables import Dataset
from app.datasets import datasets, holdouts, privacy_ledger
from app.datasets.holdouts import HELD_OUT
from app.datasets.training_images import TRAINING, count_in, in_split, label_counts
from app.datasets.training_overlap import training_overlap
from app.errors import Conflict, Invalid, NotReady
from app.inference.deletion_gate import Ticket
from app.inference.models import Effects, WeightProblem
from app.inference.opened_spaces import source_of
from app.inference.selection import contents, read_consistently, selection_fields
from app.operations.dataset_pass import Source, dataset_pass
from app.parts import Parts
from app.store import compositions, fitted_weights
from app.store.composition_versions import precondition
from app.store.compositions import Selection
from app.store.idempotency import Once
from tangent_composer.schemas.compositions import CompositionOut, SolveIn
from tangent_composer.schemas.predictions import SelectionQuery

MIN_IMAGES = 10


class Fitting(NamedTuple):
    """The images to fit to, and how many have each label."""

    dataset: Dataset
    split: str
    labels: dict[str, int]

    @property
    def is_trained_on(self) -> bool:
        """Return whether components of the dataset are trained on some of the images."""
        return self.split not in (VAL, TEST)


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
        StaleVersion, Conflict, Gone, NotFound: as `_images`, `store` and `read_consistently`.
    """
    with transaction(parts.reading) as session:
        if (known := once.known(session, request)) is not None:
            return _shown(session, known)
        images = _images(session, request)
    # Only reading and storing keep deletions waiting, not the long computation in between.
    ticket.enter()
    selection = _read(parts, name, images, if_match)
    ticket.leave()
    parts.count_images(sum(images.labels.values()))  # of what is not refused
    examples = _gathered(parts, selection, images)
    weights, solved = _solved(parts, request, selection, examples, images)
    ticket.read_as_of_now()
    ticket.enter()
    with transaction(parts.sessions) as session:

        def store() -> str:
            fitted_weights.store(
                session,
                name,
                etag=str(selection.etag),
                selection=selection_fields(selection),
                weights=weights,
                dataset=images.dataset,
                solved=solved,
            )
            return name

        shown = _shown(session, once.run(session, request, store, status=200))
    ticket.hand_over([images.dataset.id, *contents(selection)])
    return shown


def _images(session: Session, request: SolveIn) -> Fitting:
    """Return the images of the request's split, or those for training.

    Raises:
        Invalid: `split_empty`.
        NotFound, Gone: as `datasets.get`.
    """
    dataset, split = datasets.get(session, request.dataset_id), request.split or TRAINING
    privacy_ledger.require_private(dataset, "solving for weights")
    count_in(dataset, split)
    return Fitting(dataset, split, label_counts(session, dataset, *in_split(split)))


def _read(parts: Parts, name: str, images: Fitting, if_match: str | None) -> Selection:
    """Return the composition's selection, whose weights can be fitted."""

    def checked(selection: Selection) -> Selection:
        _check(parts, selection, images, if_match)
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


def _check(parts: Parts, selection: Selection, images: Fitting, if_match: str | None) -> None:
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
    usable = sum(count for label, count in images.labels.items() if label in labels)
    if not usable:
        raise Invalid(
            "no_common_label",
            f"dataset {images.dataset.id} has no label that the composition's components know: "
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


def _gathered(parts: Parts, selection: Selection, images: Fitting) -> Gathered:
    """Return the logits of all images whose label the components know."""
    found, labels = Gathered(), labels_of(selection)
    key = parts.spaces.key(selection.space)
    sources = [source_of(part) for part, _ in selection.members]

    def effects(pixels: list[Any]) -> Effects:
        return parts.engine.effects(key, sources, pixels, labels)

    source = Source.of(selection, images.dataset, images.split)
    with transaction(parts.reading) as session:
        held_out = holdouts.held_out(session, images.dataset, images.split, labels)
    for rows, chunk in dataset_pass(parts, source, effects, labels=labels):
        found.chunks.append(chunk)
        found.truth += [labels.index(row.label) for row in rows]
        found.held_out += [row.id in held_out for row in rows]
    return found


def _shown(session: Session, name: str) -> CompositionOut:
    row = compositions.get(session, name)
    return CompositionOut.of(row, compositions.etag(row))


def labels_of(selection: Selection) -> tuple[str, ...]:
    """Return the labels that the selection's components rank, sorted."""
    return tuple(sorted({label for part, _ in selection.members for label in part.labels}))


def _solved(
    parts: Parts, request: SolveIn, selection: Selection, found: Gathered, images: Fitting
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
        "split": request.split,
        "objective": request.objective,
        "l2": request.l2,
        "constraint": request.constraint,
        "num_images": num_fitted,
        "num_left_out": sum(images.labels.values()) - len(found.truth),
        "training_objective": solution.objective,
        "uniform_training_objective": solution.uniform_objective,
        "num_holdout": num_holdout,
        "holdout_accuracy": solution.holdout_accuracy,
        "uniform_holdout_accuracy": solution.uniform_holdout_accuracy,
        **_overlap(parts, selection, images),
    }


def _overlap(parts: Parts, selection: Selection, images: Fitting) -> dict[str, Any]:
    """Return which members know the dataset, and how many of the images they were trained on."""
    members, id_ = [part for part, _ in selection.members], images.dataset.id
    with transaction(parts.reading) as session:
        overlap = training_overlap(
            session, [part.id for part in members], id_, images.split, selection.space.name
        )
    knowing = [part.id for part in members if part.dataset_id == id_ and images.is_trained_on]
    return {"members_trained_on_dataset": knowing} | overlap.among(labels_of(selection))


def _check_number(fitted: int, held_out: int) -> None:
    if fitted + held_out < MIN_IMAGES or not fitted or not held_out:
        raise Invalid(
            "too_few_images",
            f"{fitted} images to fit and {held_out} held out are too few: the least are "
            f"{MIN_IMAGES} of labels that the components know, some of each kind; one in "
            f"{HELD_OUT} is held out, by its hash, and no group of images is parted",
        )
