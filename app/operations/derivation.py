"""Derivations: components made from other components."""

from collections.abc import Sequence

from app.access import quotas
from app.database.sessions import Session, transaction
from app.database.tables import Component, Dataset, Space
from app.datasets import datasets, privacy_ledger
from app.datasets.training_images import training_labels
from app.errors import Conflict, Invalid
from app.inference.models import MergePlan
from app.parts import Parts
from app.store import components, lineage, spaces
from app.store.idempotency import Once
from tangent.vocabulary import LINEAR, REFINE
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.derivations import DeriveIn


def queue_derivation(parts: Parts, request: DeriveIn, once: Once) -> ComponentOut:
    """Queue a derivation, once for an idempotency key.

    Raises:
        Conflict: `parent_data_missing`.
        Invalid: `nothing_to_refine`, `dataset_missing`, `dataset_not_used`, `no_common_label`.
        Forbidden: `quota_exceeded`.
        NotFound, Gone, Conflict, Invalid: a parent's or the dataset's; as `Once.run`.
        SpaceUnavailable: as `OpenedSpaces.check_available`.
    """
    with transaction(parts.sessions) as session:
        component_id = once.run(
            session, request, lambda: _queue(session, parts, request).id, status=202
        )
        return ComponentOut.of(components.get(session, component_id))


def _queue(session: Session, parts: Parts, request: DeriveIn) -> Component:
    weights = [parent.weight for parent in request.parents]
    method = parts.engine.plan_merge(request.operator, request.parameters, weights)
    given = [(parent.id, parent.weight) for parent in request.parents]
    pairs = lineage.hold_parents(session, given)
    quotas.check(session, max_queued_trainings=1, max_components=1)
    parents = [parent for parent, _ in pairs]
    space = spaces.get(session, parents[0].space)
    parts.spaces.check_available(space)
    if request.operator == REFINE and space.scope in LINEAR:
        raise Invalid(
            "nothing_to_refine",
            f"rule joint is exact at scope {space.scope}: compose the parents by it",
        )
    if method.measures_images:
        _check_images(session, parts, method, space, parents)
    return lineage.queue_derivation(
        session,
        parts.jobs,
        space=space,
        parents=pairs,
        operator=request.operator,
        parameters=method.parameters,
        dataset=_dataset(session, request, method, parents),
        name=request.name,
        seed=request.seed,
        tags=request.metadata,
    )


def _check_images(
    session: Session, parts: Parts, method: MergePlan, space: Space, parents: Sequence[Component]
) -> None:
    """Refuse parents whose images the method needs and the service does not hold.

    Raises:
        Conflict: `parent_data_missing`, with the `components`; `private_component`;
            `privacy_required`.
    """
    trained = [parent for parent in parents if parent.derived is None]
    losses = [parent.hyperparameters["loss"] for parent in trained]
    needed = parts.engine.merges_needing_images(method.operator, space.scope, losses)
    needing = {parent.id for parent, needs in zip(trained, needed, strict=True) if needs}
    for parent in trained:
        if parent.privacy and parent.id in needing:
            raise privacy_ledger.refusal(
                parent.id, f"measured by {method.operator}", "that would look at its images again"
            )
    measured = {str(parent.dataset_id) for parent in trained if parent.id in needing}
    for dataset_id in privacy_ledger.with_budget(session, measured):
        raise privacy_ledger.required(dataset_id, f"operator {method.operator}")
    missing = [
        parent.id
        for parent in parents
        if parent.derived is not None or (parent.dataset_id is None and parent.id in needing)
    ]
    if missing:
        raise Conflict(
            "parent_data_missing",
            f"operator {method.operator} measures on the images that a parent was trained "
            f"from, and there are none for {', '.join(missing)}, imported or derived: leave these "
            "out, or use an operator that needs no images",
            components=missing,
        )


def _dataset(
    session: Session, request: DeriveIn, method: MergePlan, parents: Sequence[Component]
) -> Dataset | None:
    """Return the dataset to fit to; None for a method without one.

    Raises:
        Invalid: `dataset_missing`, `dataset_not_used`, `no_common_label`, `nothing_to_train`.
        NotFound, Gone: as `datasets.get`.
    """
    if request.dataset_id is None:
        if method.takes_dataset:
            detail = f"operator {request.operator} fits to labelled images: give a dataset_id"
            raise Invalid("dataset_missing", detail)
        return None
    if not method.takes_dataset:
        detail = f"operator {request.operator} fits to no images: leave dataset_id out"
        raise Invalid("dataset_not_used", detail)
    dataset = datasets.get(session, request.dataset_id)
    privacy_ledger.require_private(dataset, f"operator {request.operator}")
    known = sorted({label for parent in parents for label in parent.labels})
    if not set(known) & training_labels(session, dataset).keys():
        raise Invalid(
            "no_common_label",
            f"dataset {dataset.id} has no label that the parents know: they know "
            f"{', '.join(known[:20])}",
        )
    return dataset
