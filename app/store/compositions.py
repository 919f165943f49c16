"""Compositions: named choices of components, weights and a rule; and what a request selects.

A row holds ids and numbers only. A composition of "all" components names none: it means those that
are ready at the time of asking.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access import callers, quotas
from app.database.sessions import hold_write_lock
from app.database.tables import (
    Component,
    Composition,
    CompositionMember,
    IdempotencyKey,
    Space,
    now,
)
from app.datasets.privacy_accounting import Total
from app.errors import Conflict, Invalid, NotFound
from app.files.blobs import LocalBlobs
from app.store import components, idempotency, refinements, spaces
from app.store.composition_versions import precondition
from app.store.members import Weighted, choose, joinable, selected, weigh
from tangent.vocabulary import LINEAR
from tangent_composer.canonical_json import canonical


@dataclass(frozen=True, eq=False)
class Selection:
    """The components that answer a request, and how they are summed."""

    space: Space
    rule: str
    members: list[tuple[Component, float | None]]
    composition: Composition | None
    etag: str | None
    retraining: list[str]  # ids of components left out because they are being retrained
    damaged: list[str]  # ids of components left out because their files are damaged
    refinement: Component | None = None  # of a joint selection at a block scope, in any status
    privacy: tuple[Total, str] | None = None  # of its private components together, and its unit
    to_refine: bool = False  # joint at a block scope, of a composition or all, where possible
    # What was computed of this very selection, by what computes it.
    computed: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def served(self) -> tuple[list[tuple[Component, float | None]], str]:
        """Return the components and the rule that answer: only the refinement once it is ready."""
        if self.refinement is not None and self.refinement.status == "ready":
            return [(self.refinement, 1.0)], "weighted"
        return self.members, self.rule

    @property
    def joint(self) -> str | None:
        """Return exact, one_shot or refined under rule `joint`, None under any other."""
        if self.rule != "joint":
            return None
        if self.space.scope in LINEAR:
            return "exact"
        return "one_shot" if self.served[1] == "joint" else "refined"


def etag(composition: Composition) -> str:
    """Return the composition's version, a hash of its content."""
    content = _content(composition)
    if composition.tags:  # without them, versions are those of before there were any
        content["metadata"] = composition.tags
    return hashlib.sha256(canonical(content)).hexdigest()


def _content(composition: Composition) -> dict[str, Any]:
    """Return what answers depend on."""
    return {
        "name": composition.name,
        "space": composition.space,
        "rule": composition.rule,
        "everything": composition.everything,
        "members": sorted([m.component_id, m.weight] for m in composition.members),
    }


def get(session: Session, name: str) -> Composition:
    """Return the composition of that name, if the session's caller may see it.

    Raises:
        NotFound: `composition_not_found`.
    """
    composition = session.get(Composition, name)
    if composition is None or not callers.sees(session, composition.space):
        raise NotFound(
            "composition_not_found",
            f"no composition {name!r}: GET /v1/compositions lists those there are",
        )
    return composition


def put(
    session: Session,
    blobs: LocalBlobs,
    name: str,
    *,
    space: Space,
    rule: str,
    components: Literal["all"] | Sequence[Weighted],
    metadata: Mapping[str, str] | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> tuple[Composition, bool]:
    """Create or replace a composition; return it, and True if it is new.

    Raises:
        StaleVersion: `composition_changed` if its etag is not `if_match`, or is `if_none_match`;
            "*" stands for any version.
        Forbidden: `quota_exceeded`.
        Invalid, Conflict, NotFound, Gone: a rule, weight or component that cannot be used.
    """
    hold_write_lock(session)
    spaces.hold(session, space)
    everything = components == "all"
    chosen = [] if components == "all" else list(components)
    weigh(rule, chosen)
    spaces.check_rule(rule, space.scope)
    if everything and rule == "weighted":
        raise Invalid("bad_weight", 'rule weighted needs a weight for every component, not "all"')
    _hold(session, space, rule, [component_id for component_id, _ in chosen])
    composition, created = _row(session, name, space)
    precondition(None if created else etag(composition), if_match, if_none_match)
    before = _content(composition)
    composition.space, composition.rule, composition.everything = space.name, rule, everything
    composition.solved, composition.tags = None, dict(metadata or {})  # its weights are given
    set_members(composition, dict(chosen))
    session.flush()
    if not created and _content(composition) != before:
        refinements.replace(session, blobs, space, name)
    return composition, created


def set_members(composition: Composition, weights: Mapping[str, float | None]) -> None:
    """Give the composition these components with these weights, and no others."""
    present = {member.component_id: member for member in composition.members}
    composition.members[:] = [
        present.get(component_id, CompositionMember(component_id=component_id))
        for component_id in sorted(weights)
    ]
    for member in composition.members:
        member.weight = weights[member.component_id]
    composition.updated_at = now()


def remove(session: Session, blobs: LocalBlobs, name: str, *, if_match: str | None = None) -> None:
    """Delete the composition, its refinement and the keys of its solves; its components stay.

    Raises:
        StaleVersion: `composition_changed` if its etag is not `if_match`.
    """
    hold_write_lock(session)
    composition = get(session, name)
    session.refresh(composition, with_for_update=True)
    precondition(etag(composition), if_match)
    refinements.replace(session, blobs, spaces.get(session, composition.space), name)
    session.execute(delete(IdempotencyKey).where(idempotency.of_solves([name])))
    session.delete(composition)
    session.flush()


def resolve(
    session: Session,
    space_name: str | None,
    composition: str | None,
    components: Sequence[Weighted] | None,
    rule: str | None,
) -> Selection:
    """Resolve a request's composition, its components, or else all ready ones of the space.

    Weights belong to the rule that they were given for: under another, a composition's components
    count as that rule counts by itself.
    """
    if composition is None:
        return _given(session, space_name, components, rule)
    if components is not None:
        raise Invalid(
            "selection_ambiguous",
            "the request has both a composition and components: give one of them",
        )
    return _named(session, get(session, composition), space_name, rule)


def none_left(row: Composition) -> Conflict:
    """Return the problem of a composition whose components were all deleted, or that has none."""
    return Conflict(
        "no_components",
        f"composition {row.name!r} has no component left: PUT it with others, or delete it",
    )


def _named(
    session: Session, row: Composition, space_name: str | None, rule: str | None
) -> Selection:
    if space_name is not None and space_name != row.space:
        raise Invalid(
            "composition_other_space",
            f"composition {row.name!r} belongs to space {row.space!r}, not to {space_name!r}: "
            "leave the space out",
        )
    used, given = rule or row.rule, None
    if not row.everything:
        given = [(m.component_id, m.weight if used == row.rule else None) for m in row.members]
        if not given:
            raise none_left(row)
    space = spaces.get(session, row.space)
    return _selection(session, space, used, given, row, lasting=True)


def _given(
    session: Session, space_name: str | None, given: Sequence[Weighted] | None, rule: str | None
) -> Selection:
    if given is not None:
        if not given:
            raise Invalid(
                "no_components_given", "components is empty: name one, or leave it out for all"
            )
        if rule is None and any(weight is not None for _, weight in given):
            raise Invalid("rule_missing", "weights mean one thing to each rule: say rule as well")
        if space_name is None:
            space_name = components.get(session, given[0][0]).space
    space = spaces.get(session, space_name or spaces.DEFAULT)
    used = rule or space.default_rule
    return _selection(session, space, used, given, None, lasting=given is None)


def _selection(
    session: Session,
    space: Space,
    rule: str,
    given: Sequence[Weighted] | None,
    row: Composition | None,
    *,
    lasting: bool,
) -> Selection:
    spaces.check_rule(rule, space.scope)
    chosen = choose(session, space, rule, given, skip_retraining=lasting)
    inexact = rule == "joint" and space.scope not in LINEAR
    lasting = lasting and inexact and refinements.possible(session, space, chosen.members)
    return Selection(
        space=space,
        rule=rule,
        members=chosen.members,
        composition=row,
        etag=None if row is None else etag(row),
        retraining=chosen.retraining,
        damaged=chosen.damaged,
        refinement=refinements.find(session, space, chosen.members) if inexact else None,
        to_refine=lasting,
    )


def _hold(session: Session, space: Space, rule: str, ids: list[str]) -> None:
    """Check the components, and keep deletions of them waiting until the transaction ends."""
    if ids:
        joinable(rule, selected(session, space, ids))
        held = select(Component.id).where(Component.id.in_(ids)).order_by(Component.id)
        found = set(session.scalars(held.with_for_update(read=True, key_share=True)))
        for component_id in sorted(set(ids) - found):
            components.get(session, component_id)


def _row(session: Session, name: str, space: Space) -> tuple[Composition, bool]:
    """Lock and return the composition's row; create one if there is none."""
    for _ in range(2):
        row = session.get(Composition, name, with_for_update=True, populate_existing=True)
        if row is not None:
            _check_seen(session, row)
            return row, False
        quotas.check(session, max_compositions=1)
        row = Composition(name=name, space=space.name, rule="average", everything=True, tags={})
        row.created_by = callers.key_id_of(session)
        try:
            with session.begin_nested():
                session.add(row)
            return row, True
        except IntegrityError:  # another request made it in between
            continue
    raise Conflict("composition_busy", f"composition {name!r} is being deleted: try again")


def _check_seen(session: Session, row: Composition) -> None:
    if not callers.sees(session, row.space):
        raise Conflict(
            "composition_name_taken",
            f"a composition {row.name!r} of a space of somebody else's exists: choose another name",
        )
