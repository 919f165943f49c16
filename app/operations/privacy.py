"""Privacy: the terms of a training as they are asked for, and the budget of a dataset."""

from typing import Any

from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock, transaction
from app.database.tables import Component, Dataset, Space
from app.datasets import datasets, privacy_accounting, privacy_ledger, privacy_units
from app.datasets.privacy_accounting import ACCOUNTANT
from app.datasets.training_images import training_labels
from app.errors import Invalid
from app.parts import Parts
from app.passes import queue
from app.store import components, compositions, lineage, members, spaces, unnoised_work
from tangent import Hyperparameters, Privacy
from tangent.components.privacy import private_settings
from tangent_composer.schemas.components import ComponentIn
from tangent_composer.schemas.privacy import PrivacyBudgetIn, PrivacyLedgerOut, PrivacyTotalOut


def settings_of(space: Space, request: ComponentIn) -> Hyperparameters:
    """Return the resolved hyperparameters; a private training takes a penalty that sees no data.

    Raises:
        BadHyperparameter: one is unknown or out of its range.
        BadPrivacy: a private training cannot follow them.
    """
    if request.privacy is None:
        return Hyperparameters.resolve(space.scope, request.hyperparameters)
    return private_settings(space.scope, request.hyperparameters)


def check_number_of_labels(request: ComponentIn, most: int) -> None:
    """Refuse a private training that names more public labels than a dataset may have.

    Raises:
        Invalid: `too_many_labels`.
    """
    named = request.privacy.labels if request.privacy is not None else None
    if named is not None and len(named) > most:
        raise Invalid(
            "too_many_labels", f"{len(named)} labels are named as public, the most is {most}"
        )


def terms_of(session: Session, dataset: Dataset, request: ComponentIn) -> Privacy | None:
    """Return the terms of the training; None if it is not private.

    Raises:
        BadPrivacy: there are no or too many labels.
        Invalid: `nothing_to_train`.
    """
    if request.privacy is None:
        return None
    given: dict[str, Any] = request.privacy.model_dump(exclude={"labels"})
    if request.privacy.unit == privacy_units.GROUP:
        privacy_units.check_groups(session, dataset.id)
    counts, labels = training_labels(session, dataset), request.privacy.labels
    return Privacy.resolve(given, list(counts) if labels is None else labels)


def put_budget(parts: Parts, dataset_id: str, request: PrivacyBudgetIn) -> PrivacyLedgerOut:
    """Give the dataset a budget, larger or smaller than the one it has.

    What is being made of its images without noise fails.

    Raises:
        NotFound, Gone: as `datasets.get`.
    """
    privacy_accounting.load()
    with transaction(parts.sessions) as session:
        hold_write_lock(session)
        dataset = datasets.get(session, dataset_id)
        session.refresh(dataset, with_for_update=True)  # after trainings that are being queued
        is_first, dataset.privacy_budget = dataset.privacy_budget is None, request.model_dump()
        session.flush()
        jobs = _end_unnoised(parts, session, dataset_id) if is_first else []
        ledger = shown(session, dataset)
    for job_id in jobs:
        parts.jobs.stop(job_id)
    return ledger


def _end_unnoised(parts: Parts, session: Session, dataset_id: str) -> list[str]:
    """Fail passes over the dataset and components that are made of it; return the jobs to stop."""
    problem = privacy_ledger.required(dataset_id, "what was under way")
    queue.fail_of_dataset(session, dataset_id, problem.code, problem.detail)
    found = {row.id: row for row in unnoised_work.trainings(session, dataset_id)}
    for row, losses in unnoised_work.derivations(session, dataset_id):
        operator, scope = (row.derived or {})["operator"], session.get_one(Space, row.space).scope
        if any(parts.engine.merges_needing_images(operator, scope, losses)):
            found[row.id] = row
    for id_ in found:
        components.fail(session, id_, code=problem.code, detail=problem.detail)
    return [row.job_id for row in found.values()]


def of_composition(session: Session, name: str) -> PrivacyTotalOut:
    """Return the total of the composition's members and of what they were derived from, as now.

    Raises:
        NotFound, Conflict, NotReady: as `compositions.select`.
    """
    row = compositions.get(session, name)
    space = spaces.get(session, row.space)
    given = None if row.everything else [(each.component_id, None) for each in row.members]
    if given == []:
        raise compositions.none_left(row)
    chosen = members.choose(session, space, "average", given, skip_retraining=True)
    rows = [component for component, _ in chosen.members]
    rows = lineage.with_ancestors(session, rows)
    found = privacy_ledger.total_of(session, rows)
    private = [component.id for component in rows if component.privacy]
    total, unit = (None, None) if found is None else found
    return PrivacyTotalOut(
        epsilon=None if total is None else total.epsilon,
        delta=None if total is None else total.delta,
        unit=unit,
        private=private,
        not_private=sum(not (row.privacy or _is_of_others_alone(row)) for row in rows),
    )


def _is_of_others_alone(row: Component) -> bool:
    """True for one derived here: of an imported one only its file says what it was made of."""
    made_here = row.derived is not None and all(each.parent_id for each in row.parents)
    return made_here and row.dataset_id is None  # or it was fitted to images


def shown(session: Session, dataset: Dataset) -> PrivacyLedgerOut:
    """Return the view of the dataset's ledger."""
    ledger = privacy_ledger.ledger(session, dataset)
    return PrivacyLedgerOut.of(dataset.id, ledger, ACCOUNTANT)
