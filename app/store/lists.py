"""Lists: the datasets, components, compositions and spaces that a caller may see and asks for.

    rows = lists.datasets(session, Asked(after, limit + 1, "-name"), label="cat")
    lists.cursor(Dataset, "-name", rows[-1])

A filter that is None narrows nothing; of several, all hold.
"""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from app.access import callers
from app.database.json_members import Pairs, has_name, has_pairs
from app.database.keyset import Order
from app.database.row_checksums import KEPT
from app.database.tables import (
    Component,
    Composition,
    CompositionMember,
    Dataset,
    Space,
)
from app.store.components import current
from tangent_composer.labels import tidy

Row = TypeVar("Row")


class Asked(NamedTuple):
    """The page that a request asks for: rows after a cursor, in an order by its name."""

    after: str | None
    limit: int
    order: str


def both_ways(
    key: InstrumentedAttribute[str], **columns: InstrumentedAttribute[Any]
) -> Mapping[str, Order]:
    """Return the orders by these columns, by the names that a request has for them."""
    orders = {name: Order(column, key) for name, column in columns.items()}
    back = {f"-{name}": order.reversed() for name, order in orders.items()}
    return MappingProxyType(dict(chain(orders.items(), back.items())))


# Ids are in the order in which they were given, so that by age is by id.
ORDERS: Mapping[type[Any], Mapping[str, Order]] = MappingProxyType(
    {
        Dataset: both_ways(Dataset.id, created_at=Dataset.id, name=Dataset.name),
        Component: both_ways(Component.id, created_at=Component.id, name=Component.name),
        Composition: both_ways(
            Composition.name,
            name=Composition.name,
            created_at=Composition.created_at,
            updated_at=Composition.updated_at,
        ),
        Space: both_ways(Space.name, name=Space.name, created_at=Space.created_at),
    }
)


def cursor(table: type[Any], order: str, row: Any) -> str:
    """Return the value of `after` for the page behind this row of the table's list."""
    return ORDERS[table][order].cursor(row)


def datasets(
    session: Session,
    asked: Asked,
    *,
    name: str | None = None,
    label: str | None = None,
    space: str | None = None,
    metadata: Pairs = (),
) -> list[Dataset]:
    """Return datasets, without their rejected files."""
    query = select(Dataset).options(defer(Dataset.rejected, raiseload=True))
    query = query.where(*equal({Dataset.name: name, Dataset.space: space}))
    query = query.where(*_labelled(Dataset.labels, label), *has_pairs(Dataset.tags, metadata))
    return listed(session, query, Dataset.space, ORDERS[Dataset], asked)


def components(
    session: Session,
    asked: Asked,
    *,
    name: str | None = None,
    label: str | None = None,
    space: str | None = None,
    status: str | None = None,
    dataset_id: str | None = None,
    metadata: Pairs = (),
) -> list[Component]:
    """Return components, without replaced ones."""
    same = {
        Component.name: name,
        Component.space: space,
        Component.status: status,
        Component.dataset_id: dataset_id,
    }
    query = select(Component).where(current(), *equal(same))
    query = query.where(*_labelled(Component.labels, label), *has_pairs(Component.tags, metadata))
    return listed(session, query, Component.space, ORDERS[Component], asked)


def compositions(
    session: Session,
    asked: Asked,
    *,
    space: str | None = None,
    component_id: str | None = None,
    metadata: Pairs = (),
) -> list[Composition]:
    """Return compositions; those of a component are the ones that name it."""
    query = select(Composition).where(*equal({Composition.space: space}))
    if component_id is not None:
        named = select(CompositionMember.composition)
        named = named.where(CompositionMember.component_id == component_id)
        query = query.where(Composition.name.in_(named))
    query = query.where(*has_pairs(Composition.tags, metadata))
    return listed(session, query, Composition.space, ORDERS[Composition], asked)


def spaces(
    session: Session,
    asked: Asked,
    *,
    backbone: str | None = None,
    scope: str | None = None,
    fingerprint: str | None = None,
) -> list[Space]:
    """Return spaces."""
    same = {Space.backbone: backbone, Space.scope: scope, Space.fingerprint: fingerprint}
    query = select(Space).where(*equal(same))
    return listed(session, query, Space.name, ORDERS[Space], asked)


def equal(values: Mapping[Any, Any]) -> list[ColumnElement[bool]]:
    """Return the conditions that columns have these values, where there is one."""
    return [column == value for column, value in values.items() if value is not None]


def listed(
    session: Session,
    query: Select[Row],
    space: InstrumentedAttribute[Any],
    orders: Mapping[str, Order],
    asked: Asked,
) -> list[Row]:
    """Return the page of the query's rows whose space, named in this column, the caller sees."""
    visible = query.where(*callers.seen(session, space))
    page = orders[asked.order].page(visible, asked.after, asked.limit)
    return list(session.scalars(page.execution_options(**KEPT)))


def _labelled(labels: InstrumentedAttribute[Any], label: str | None) -> list[ColumnElement[bool]]:
    return [] if label is None else [has_name(labels, {label, tidy(label)})]
