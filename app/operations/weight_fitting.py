"""Weight fitting: compute every component's logits on a dataset, then solve for the weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.database.sessions import Session, transaction
from app.database.tables import Dataset
from app.errors import Conflict, Invalid, NotReady
from app.inference.deletion_gate import Ticket
from app.inference.engine.engine import Engine
from app.inference.selection import contents, read_consistently, selection_fields
from app.operations.dataset_pass import dataset_pass
from app.parts import Parts
from app.schemas.compositions import CompositionOut, SolveIn
from app.schemas.predictions import SelectionQuery
from app.store import compositions, datasets, fitted_weights
from app.store.composition_versions import precondition
from app.store.compositions import Selection
from app.store.idempotency import Once
from tangent.composition.fitted_weights import Examples, WeightFit, examples_of, uniform

CHUNK = 64  # images in memory at a time
MIN_IMAGES = 10
HELD_OUT = 5  # one image in so many


@dataclass
class Gathered:
    """The examples so far, with marks on the ones held out."""

    chunks: list[Any] = field(default_factory=list)
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
    selection, members = _read(parts, name, dataset, if_match)
    ticket.leave()
    examples = _gathered(parts, selection, members, dataset)
    weights, solved = _solved(request, selection, members, examples, dataset.num_images)
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


def _read(
    parts: Parts, name: str, dataset: Dataset, if_match: str | None
) -> tuple[Selection, list[Any]]:
    """Return the composition's selection and its opened components."""
    return read_consistently(
        parts.reading,
        parts.engine,
        SelectionQuery(composition=name, rule="average"),
        lambda selection: (selection, _opened(parts.engine, selection, dataset, if_match)),
        sessions=parts.sessions,
    )


def _opened(
    engine: Engine, selection: Selection, dataset: Dataset, if_match: str | None
) -> list[Any]:
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
    count, settings = len(selection.members), engine.settings
    most, numbers = settings.max_attributed_components, settings.max_solve_numbers
    if count > most or usable * len(labels) * count > numbers:
        raise Invalid(
            "solve_too_large",
            f"{usable} images of {len(labels)} labels by {count} components are too much, the "
            f"most are {most} components, and {numbers} of the product: solve on a smaller "
            "dataset or with fewer components",
        )
    return engine.components(selection.members)


def _gathered(parts: Parts, selection: Selection, members: list[Any], dataset: Dataset) -> Gathered:
    """Return the logits of all images whose label the components know."""
    found, labels = Gathered(), labels_of(selection)
    walked = dataset_pass(
        parts.engine,
        parts.blobs,
        parts.reading,
        selection,
        dataset,
        chunk=CHUNK,
        labels=labels,
    )
    for rows, inputs in walked:
        found.chunks.append(
            parts.engine.logits_by_component(selection.space, inputs, members, labels)
        )
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
    request: SolveIn,
    selection: Selection,
    parts: Sequence[Any],
    found: Gathered,
    num_images: int,
) -> tuple[list[float], dict[str, Any]]:
    """Return the weights, and the report on them for the client."""
    examples = examples_of(found.chunks, found.truth)
    fitted, held_out = _split(examples, found.held_out)
    betas = [float(part.hyperparameters.get("beta", 1.0)) for part in parts]
    problem = WeightFit(request.objective, request.l2, request.constraint, sum(betas) / len(betas))
    weights, equal = problem.solve(fitted), uniform(fitted)
    return weights.tolist(), {
        "dataset_id": request.dataset_id,
        "objective": request.objective,
        "l2": request.l2,
        "constraint": request.constraint,
        "num_images": len(fitted),
        "num_left_out": num_images - len(examples),
        "training_objective": problem.value(fitted, weights),
        "uniform_training_objective": problem.value(fitted, equal),
        "num_holdout": len(held_out),
        "holdout_accuracy": held_out.accuracy(weights),
        "uniform_holdout_accuracy": held_out.accuracy(equal),
        "members_trained_on_dataset": [
            part.id for part, _ in selection.members if part.dataset_id == request.dataset_id
        ],
    }


def _split(examples: Examples, held_out: Sequence[bool]) -> tuple[Examples, Examples]:
    """Return the examples to fit and the examples held out.

    Raises:
        Invalid: `too_few_images`.
    """
    kept = [row for row, out in enumerate(held_out) if not out]
    out = [row for row, out in enumerate(held_out) if out]
    if len(examples) < MIN_IMAGES or not kept or not out:
        raise Invalid(
            "too_few_images",
            f"{len(kept)} images to fit and {len(out)} held out are too few: the least are "
            f"{MIN_IMAGES} of labels that the components know, some of each kind; one in "
            f"{HELD_OUT} is held out, by its hash",
        )
    return examples.chosen(kept), examples.chosen(out)
