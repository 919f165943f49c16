"""The members of a selection: ready components of one space, with weights that the rule takes."""

import math
from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.store import components
from app.store.tables import Component, Space
from tangent.vocabulary import RULES, weight_fault

RETRY_SECONDS = 5.0  # wait for a training that has not reported its duration yet
Weighted = tuple[str, float | None]  # a component's id and its weight; None: by the rule


def selected(session: Session, space: Space, ids: list[str] | None) -> list[Component]:
    """Return ready components of a space, ordered by id: the named ones, or all.

    "All" excludes derived components, which would count their parents a second time.

    Raises:
        Conflict: `no_components` if the space has none ready; `component_not_ready`.
        Invalid: `component_other_space`.
        NotFound, Gone: as `components.get`.
    """
    if ids is None:
        query = select(Component).where(Component.space == space.name, *in_all())
        chosen = list(session.scalars(query.order_by(Component.id)))
    else:
        chosen = [_of_space(session, space, component_id) for component_id in sorted(set(ids))]
    if not chosen:
        raise Conflict(
            "no_components",
            f"space {space.name!r} has no ready component to answer with: "
            "POST a dataset with train=true, and wait until its component is ready",
        )
    return chosen


def in_all() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a component that "all" includes."""
    return Component.status == "ready", Component.derived.is_(None)


def joinable(rule: str, chosen: Sequence[Component]) -> None:
    """Refuse derived components by the rule `joint`, as they have no statistics.

    Raises:
        Invalid: `component_derived`.
    """
    derived = [part.id for part in chosen if part.derived is not None]
    if rule == "joint" and derived:
        raise Invalid(
            "component_derived",
            f"components {', '.join(derived)} were derived from others and have no statistics of "
            "data of their own, which rule joint adds: name their parents, or use average or "
            "weighted",
            components=derived,
        )


def available(
    session: Session, space: Space, ids: list[str] | None
) -> tuple[list[Component], list[str]]:
    """Return `selected` components that are not being retrained, and the ids of the others.

    Raises:
        Conflict: `components_retraining` if no other one is left, with `retry_after` in seconds.
        Conflict, Invalid, NotFound, Gone: as `selected`.
    """
    query = select(Component).where(Component.space == space.name, Component.retraining)
    if ids is not None:
        query = query.where(Component.id.in_(ids))
    awaited = {row.id: row for row in session.scalars(query.order_by(Component.id))}
    rest = None if ids is None else [each for each in ids if each not in awaited]
    if awaited and (rest == [] or (rest is None and not _any_ready(session, space))):
        known = [row.progress.get("eta_seconds") or RETRY_SECONDS for row in awaited.values()]
        raise Conflict(
            "components_retraining",
            f"all of {', '.join(list(awaited)[:20])} are trained anew, as their datasets have "
            "changed: GET /v1/components/{id}/events tells when they are ready, or try again after "
            "the seconds in Retry-After",
            retraining=list(awaited),
            retry_after=math.ceil(max(known)),
        )
    return selected(session, space, rest), list(awaited)


def _any_ready(session: Session, space: Space) -> bool:
    ready = select(Component.id).where(Component.space == space.name, *in_all())
    return session.scalar(ready.limit(1)) is not None


def _of_space(session: Session, space: Space, component_id: str) -> Component:
    component = components.get(session, component_id)
    if component.space != space.name:
        raise Invalid(
            "component_other_space",
            f"component {component_id} belongs to space {component.space!r}, not to "
            f"{space.name!r}: components of different spaces cannot be added",
        )
    return components.ready(session, component_id)


def weigh(rule: str, chosen: Sequence[Weighted]) -> None:
    """Check that the rule can be used with these weights.

    Raises:
        Invalid: `unknown_rule`, `component_repeated` or `bad_weight`.
    """
    if rule not in RULES:
        raise Invalid(
            "unknown_rule", f"no rule is called {rule!r}; choose one of {', '.join(RULES)}"
        )
    seen = set()
    for component_id, weight in chosen:
        if component_id in seen:
            raise Invalid("component_repeated", f"component {component_id} is named twice")
        seen.add(component_id)
        if fault := weight_fault(rule, weight):
            where = f"component {component_id} has weight {weight!r}, but rule {rule}"
            raise Invalid("bad_weight", f"{where} {fault}")
    if rule == "joint" and chosen and all(weight == 0 for _, weight in chosen):
        raise Invalid("bad_weight", "rule joint needs one weight above 0")
