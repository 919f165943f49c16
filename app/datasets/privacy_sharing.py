"""Shared images: for which datasets a spend of privacy counts.

Datasets share images by their bytes. For groups they also share a group by its name, which may be
the same patient. A deletion ends that, but what was released stays released: it carries the spends
over, so that no deletion gives a part of another dataset's budget back.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from app.archives.groups import SEPARATOR
from app.database.privacy_tables import CarriedSpend, PrivacySpend
from app.database.sessions import affected
from app.database.tables import Component, Image
from app.datasets.privacy_units import GROUP, IMAGE, Release, counted, largest_group

ACTIVE = ("queued", "training")  # statuses of a component whose spend is reserved


def sharing(dataset_id: str, unit: str) -> Select[str]:
    """Return the query for other datasets that hold an image of this one, or, for groups, a group.

    One may come several times, and there is no bound on how many there are.
    """
    other, mine = aliased(Image), Image.dataset_id == dataset_id
    same: Any = other.sha256.in_(select(Image.sha256).where(mine))
    if unit == GROUP:
        groups = select(Image.group).where(mine, Image.group.is_not(None))
        # An image of several groups counts as one of any group, here and there: its row has all
        # their names in one text, which no query takes apart.
        has_several = exists().where(mine, Image.group.contains(SEPARATOR))
        same = or_(
            same,
            other.group.in_(groups),
            and_(other.group.contains(SEPARATOR), exists().where(mine, Image.group.is_not(None))),
            and_(other.group.is_not(None), has_several),
        )
    return select(other.dataset_id).where(other.dataset_id != dataset_id, same)


def shares(session: Session, dataset_id: str, others: Collection[str], unit: str) -> set[str]:
    """Return which of these others share an image or, for groups, a group with the dataset."""
    query = sharing(dataset_id, unit)
    (other,) = query.selected_columns
    return set(session.scalars(query.where(other.in_(others)).distinct()))


def counts() -> ColumnElement[bool]:
    """Return the condition of a spend that was released, or may yet be."""
    active = exists().where(Component.id == PrivacySpend.component_id, Component.status.in_(ACTIVE))
    return or_(PrivacySpend.released, active)


def multipliers(session: Session, dataset_id: str, unit: str) -> list[float]:
    """Return the noise of all spends that may be about a unit of the dataset, as it counts."""
    carried = and_(
        CarriedSpend.spend_id == PrivacySpend.id,
        CarriedSpend.dataset_id == dataset_id,
        CarriedSpend.unit.in_([IMAGE, unit]),
    )
    about = or_(
        PrivacySpend.dataset_id == dataset_id,
        CarriedSpend.id.is_not(None),
        PrivacySpend.dataset_id.in_(sharing(dataset_id, unit)),
    )
    query = select(PrivacySpend, CarriedSpend.largest_group).outerjoin(CarriedSpend, carried)
    largest, found = largest_group(session, dataset_id), []
    for row, before in session.execute(query.where(counts(), about)):
        then = row.largest_group or largest_group(session, row.dataset_id)
        release = Release(row.dataset_id, row.noise_multiplier, row.unit, then)
        found.append(counted(release, unit, dataset_id, max(largest, before or 1)))
    return found


def carry(session: Session, dataset_id: str, *, stays: bool) -> None:
    """Keep what spends count for, before images of the dataset are deleted, or all of it.

    Its own are carried to the datasets that share with it, and theirs to it if it stays. The write
    lock is held.
    """
    if session.scalar(select(PrivacySpend.id).limit(1)) is None:
        return
    own = select(PrivacySpend).where(PrivacySpend.dataset_id == dataset_id, counts())
    spends = session.scalars(own).all()
    for spend in spends:  # one that has not noted how large the groups were, in old databases
        spend.largest_group = spend.largest_group or largest_group(session, dataset_id)
    for unit in (IMAGE, GROUP):
        found = sharing(dataset_id, unit)
        if spends:
            for other in session.scalars(found.distinct()).all():
                _carry(session, other, spends, unit)
        if stays:
            query = select(PrivacySpend).where(PrivacySpend.dataset_id.in_(found), counts())
            _carry(session, dataset_id, session.scalars(query).all(), unit)
    if not stays:
        mine = CarriedSpend.dataset_id == dataset_id
        affected(session, delete(CarriedSpend).where(mine))
    session.flush()


def _carry(session: Session, dataset_id: str, spends: Collection[PrivacySpend], unit: str) -> None:
    """Note that these spends count for the dataset, in this unit at least."""
    if not spends:
        return
    mine = select(CarriedSpend).where(CarriedSpend.dataset_id == dataset_id)
    known = {row.spend_id: row for row in session.scalars(mine)}
    largest = largest_group(session, dataset_id)
    for spend in spends:
        row = known.get(spend.id)
        if row is None:
            ids = {"dataset_id": dataset_id, "spend_id": spend.id}
            session.add(CarriedSpend(**ids, unit=unit, largest_group=largest))
        else:
            row.unit = IMAGE if IMAGE in (unit, row.unit) else GROUP
            row.largest_group = max(row.largest_group, largest)
    session.flush()
