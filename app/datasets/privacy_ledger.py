"""The privacy ledger of a dataset: every private training of it, and a budget that it may have.

A spend is recorded in the transaction that queues its training, under the write lock, so no two
requests can spend the same rest. It counts for ever once its component was ready, deleted or not:
what was released stays released. Until then it counts while the training is queued or runs. If that
ends without a component, nobody has seen any noisy sum, and the spend is returned.

Images whose bytes two datasets share count for both: what was spent on any dataset that shares an
image with this one is counted as if it were spent on all images of this one. It goes on counting
when images or datasets are deleted.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.chunks import chunks
from app.database.privacy_tables import PrivacySpend
from app.database.sessions import affected, hold_write_lock
from app.database.tables import Component, Dataset
from app.datasets import privacy_accounting as accounting
from app.datasets import privacy_sharing as sharing
from app.datasets import privacy_units as units
from app.datasets.privacy_accounting import Total
from app.datasets.privacy_units import Release
from app.errors import Conflict
from tangent.components.gaussian_mechanism import mu_of
from tangent.components.privacy import EPSILONS

MIN_EPSILON, MAX_EPSILON = EPSILONS  # of one training


class Ledger(NamedTuple):
    """The spends that count for a dataset, their total, and what its budget leaves."""

    spends: list[tuple[PrivacySpend, str]]  # of the dataset itself, with their states
    elsewhere: int  # spends on datasets that share an image with it
    total: Total
    unit: str  # that the total and the budget are about
    budget: dict[str, Any] | None
    left: float | None  # epsilon of one more release


def spend(session: Session, component: Component) -> None:
    """Record what a new private component will spend of its dataset.

    Raises:
        Conflict: `budget_spent`, with `spent`, `budget` and `left` of the first dataset over it.
    """
    terms = component.privacy
    assert terms is not None and component.dataset_id is not None
    check(session, component.dataset_id, terms)
    session.add(
        PrivacySpend(
            dataset_id=component.dataset_id,
            component_id=component.id,
            epsilon=terms["epsilon"],
            delta=terms["delta"],
            noise_multiplier=terms["noise_multiplier"],
            unit=terms["unit"],
            largest_group=units.largest_group(session, component.dataset_id),
        )
    )
    session.flush()


def check(session: Session, dataset_id: str, terms: dict[str, Any]) -> None:
    """Refuse a release that a budget does not allow: the dataset's, or one that shares its images.

    The write lock is held until the transaction ends.

    Raises:
        Conflict: as `spend`.
    """
    hold_write_lock(session)
    largest = units.largest_group(session, dataset_id)
    new = Release(dataset_id, terms["noise_multiplier"], terms["unit"], largest)
    for each, budget in _budgets(session, dataset_id):
        unit = unit_of(budget)
        before = sharing.multipliers(session, each, unit)
        counts = units.counted(new, unit, each, units.largest_group(session, each))
        after = accounting.total([*before, counts], budget["delta"])
        if accounting.exceeds(after, budget["epsilon"]):
            left = _left(before, budget, terms["delta"], new.noise_multiplier / counts)
            raise _spent(each, before, after, budget, left, is_asked=each == dataset_id)


def _budgets(session: Session, dataset_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the budgets that a release of the dataset counts in, its own first."""
    query = select(Dataset.id, Dataset.privacy_budget).where(Dataset.privacy_budget.is_not(None))
    for id_, budget in session.execute(query.where(Dataset.id == dataset_id)):
        yield id_, budget
    near = sharing.sharing(dataset_id, units.GROUP)
    for id_, budget in session.execute(query.where(Dataset.id.in_(near)).order_by(Dataset.id)):
        # Or they have only a group of one name, and the budget is about images.
        if unit_of(budget) == units.GROUP or sharing.shares(
            session, id_, [dataset_id], units.IMAGE
        ):
            yield id_, budget


def note_release(session: Session, component_id: str) -> None:
    """Note that the component has become ready: its spend counts for ever."""
    mine = PrivacySpend.component_id == component_id, PrivacySpend.released.is_(False)
    affected(session, update(PrivacySpend).where(*mine).values(released=True))


def check_not_released(session: Session, component: Component) -> None:
    """Refuse to train a private component again that has ever been ready.

    Raises:
        Conflict: `private_component`; as `check`, for one that failed before and spends now.
    """
    mine = PrivacySpend.component_id == component.id
    row = session.scalar(select(PrivacySpend).where(mine))
    if row is not None and row.released:
        raise refusal(
            component.id,
            "trained again",
            "a second version would spend as much once more: train a new one",
        )
    dataset_id = component.dataset_id or ""
    check(session, dataset_id, component.privacy or {})
    if row is not None:  # its groups may have grown or shrunk since it failed
        row.largest_group = units.largest_group(session, dataset_id)
        session.flush()


def refusal(component_id: str, act: str, why: str) -> Conflict:
    """Return the problem of an act that would undo a component's privacy."""
    detail = f"component {component_id} is private and cannot be {act}: {why}"
    return Conflict("private_component", detail)


def require_private(dataset: Dataset, act: str) -> None:
    """Refuse what publishes numbers of a dataset's images without noise, if it has a budget.

    Raises:
        Conflict: `privacy_required`.
    """
    if dataset.privacy_budget is not None:
        raise required(dataset.id, act)


def with_budget(session: Session, dataset_ids: Collection[str]) -> list[str]:
    """Return which of the datasets have a budget, sorted."""
    found: list[str] = []
    for some in chunks(sorted(dataset_ids)):
        mine = Dataset.id.in_(some), Dataset.privacy_budget.is_not(None)
        found += session.scalars(select(Dataset.id).where(*mine).order_by(Dataset.id))
    return found


def required(dataset_id: str, act: str) -> Conflict:
    """Return the problem of an act that publishes numbers without noise."""
    return Conflict(
        "privacy_required",
        f"dataset {dataset_id} has a privacy budget, and {act} would tell of its images "
        "without noise: train a private component from it, or use a dataset without a budget",
    )


def ledger(session: Session, dataset: Dataset) -> Ledger:
    """Return the ledger of a dataset as it is now."""
    budget = dataset.privacy_budget
    query = select(PrivacySpend, sharing.counts()).where(PrivacySpend.dataset_id == dataset.id)
    rows = [(row, counts) for row, counts in session.execute(query.order_by(PrivacySpend.id))]
    unit = unit_of(budget) if budget else units.common([row.unit for row, counts in rows if counts])
    multipliers = sharing.multipliers(session, dataset.id, unit)
    states = [(row, _state(row, counts=counts)) for row, counts in rows]
    delta = budget["delta"] if budget else min((row.delta for row, _ in rows), default=1e-5)
    return Ledger(
        spends=states,
        elsewhere=len(multipliers) - sum(counts for _, counts in rows),
        total=accounting.total(multipliers, delta),
        unit=unit,
        budget=budget,
        left=_left(multipliers, budget, budget["delta"]) if budget else None,
    )


def unit_of(budget: Mapping[str, Any]) -> str:
    """Return the unit that a budget is about; the first ones said none."""
    return str(budget.get("unit", units.IMAGE))


def total_of(session: Session, members: Sequence[Component]) -> tuple[Total, str] | None:
    """Return the privacy of all private components together, and its unit; None without any.

    Components of datasets that share no image are about different images: the least private one
    counts. Imported components may be about any: they count with every other.
    """
    private = [row for row in members if row.privacy]
    if not private:
        return None
    unit = units.common([str(row.privacy["unit"]) for row in private if row.privacy])
    delta = min(row.privacy["delta"] for row in private if row.privacy)
    ids = sorted({row.dataset_id for row in private if row.dataset_id})
    totals = []
    abouts: list[str | None] = [*ids] or [None]
    for each in abouts:
        near = {None} if each is None else {None, each, *sharing.shares(session, each, ids, unit)}
        largest = 1 if each is None else units.largest_group(session, each)
        about = [_release(row) for row in private if row.dataset_id in near]
        multipliers = [units.counted(found, unit, each, largest) for found in about]
        totals.append(accounting.total(multipliers, delta))
    return max(totals), unit


def _release(row: Component) -> Release:
    assert row.privacy is not None
    # Its unit is a group, or the total is about images: no number of a group's images is needed.
    return Release(row.dataset_id, float(row.privacy["noise_multiplier"]), row.privacy["unit"], 1)


def _state(row: PrivacySpend, *, counts: bool) -> str:
    return "spent" if row.released else "reserved" if counts else "returned"


def _left(
    multipliers: list[float], budget: dict[str, Any], delta: float, steps: float = 1.0
) -> float:
    """Return about the largest epsilon of one more release at this delta, rounded down.

    `steps`: of its noise, in which it changes with one unit of the budget.
    """
    most = float(budget["epsilon"])
    low, high = 0.0, most if delta >= budget["delta"] else MAX_EPSILON
    for _ in range(40):
        middle = (low + high) / 2
        more = 1 / mu_of(middle, delta) / steps if middle else float("inf")
        over = accounting.exceeds(accounting.total([*multipliers, more], budget["delta"]), most)
        low, high = (low, middle) if over else (middle, high)
    return math.floor(low * 1e6) / 1e6


def _spent(
    dataset_id: str,
    before: list[float],
    after: Total,
    budget: dict[str, Any],
    left: float,
    *,
    is_asked: bool,
) -> Conflict:
    spent = accounting.total(before, budget["delta"]).epsilon
    other = "a dataset that shares images with this one, or the name of a group"
    which = f"dataset {dataset_id}" if is_asked else other
    smaller = f"ask for epsilon {left} at most, or " if left >= MIN_EPSILON else ""
    return Conflict(
        "budget_spent",
        f"{which} has spent epsilon {spent:.4g} of {budget['epsilon']:g}, and with this training "
        f"it would be {after.epsilon:.4g} (delta {budget['delta']:g}): {smaller}raise the budget",
        spent=round(spent, 6),
        budget=budget["epsilon"],
        left=left,
    )
