"""Privacy: the terms of a training as they are asked for, and the budget of a dataset."""

from typing import Any

from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock, transaction
from app.database.tables import Dataset, Space
from app.datasets import datasets, privacy_ledger, privacy_units
from app.datasets.privacy_accounting import ACCOUNTANT
from app.datasets.training_images import training_labels
from app.parts import Parts
from app.store import compositions, lineage, members, spaces
from tangent import Hyperparameters, Privacy
from tangent.components.privacy import private_settings
from tangent_composer.labels import tidy
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
    return Privacy.resolve(given, list(counts) if labels is None else [tidy(x) for x in labels])


def put_budget(parts: Parts, dataset_id: str, request: PrivacyBudgetIn) -> PrivacyLedgerOut:
    """Give the dataset a budget, larger or smaller than the one it has.

    Raises:
        NotFound, Gone: as `datasets.get`.
    """
    with transaction(parts.sessions) as session:
        hold_write_lock(session)
        dataset = datasets.get(session, dataset_id)
        dataset.privacy_budget = request.model_dump()
        session.flush()
        return shown(session, dataset)


def of_composition(session: Session, name: str) -> PrivacyTotalOut:
    """Return the total of the composition's members, as they are now.

    Raises:
        NotFound, Conflict, NotReady: as `compositions.select`.
    """
    row = compositions.get(session, name)
    space = spaces.get(session, row.space)
    given = None if row.everything else [(each.component_id, None) for each in row.members]
    chosen = members.choose(session, space, "average", given, skip_retraining=True)
    rows = [component for component, _ in chosen.members]
    found = privacy_ledger.total_of(session, lineage.with_ancestors(session, rows))
    private = [component.id for component in rows if component.privacy]
    total, unit = (None, None) if found is None else found
    return PrivacyTotalOut(
        epsilon=None if total is None else total.epsilon,
        delta=None if total is None else total.delta,
        unit=unit,
        private=private,
        not_private=len(rows) - len(private),
    )


def shown(session: Session, dataset: Dataset) -> PrivacyLedgerOut:
    """Return the view of the dataset's ledger."""
    ledger = privacy_ledger.ledger(session, dataset)
    return PrivacyLedgerOut.of(dataset.id, ledger, ACCOUNTANT)
