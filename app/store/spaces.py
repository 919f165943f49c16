"""Tangent spaces as rows: the facts that every process checks its own opened space against."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access import callers
from app.database.row_checksums import KEPT
from app.database.tables import Component, Space
from app.errors import Conflict, Invalid, NotFound, NotReady
from tangent.errors import OutOfMemory, TangentError
from tangent.vocabulary import LINEAR

DEFAULT = "default"


class Opened(Protocol):
    """The attributes of a `tangent` space that a row keeps."""

    @property
    def backbone(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def declared(self) -> tuple[str, ...]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def image_size(self) -> int: ...
    @property
    def parameters_total(self) -> int: ...
    @property
    def parameters_tangent(self) -> int: ...
    @property
    def engine_name(self) -> str: ...
    @property
    def engine_reason(self) -> str: ...
    @property
    def default_rule(self) -> str: ...


AnyOpened = TypeVar("AnyOpened", bound=Opened)


class SpaceUnavailable(NotReady):
    """A space that does not open in this process as its row says; rows and files are as ever."""


def facts(opened: Opened) -> dict[str, Any]:
    """Return the row's columns, from an opened space of `tangent`."""
    return {
        "backbone": opened.backbone,
        "scope": opened.scope,
        "declared_labels": list(opened.declared),
        "fingerprint": opened.fingerprint,
        "image_size": opened.image_size,
        "parameters_total": opened.parameters_total,
        "parameters_tangent": opened.parameters_tangent,
        "engine": opened.engine_name,
        "engine_reason": opened.engine_reason,
        "default_rule": opened.default_rule,
    }


def check_rule(rule: str, scope: str) -> None:
    """Refuse the rule `discriminant` where features move.

    Raises:
        Invalid: `rule_unavailable`.
    """
    if rule == "discriminant" and scope not in LINEAR:
        raise Invalid(
            "rule_unavailable",
            f"rule discriminant needs features that do not move, at scope {' or '.join(LINEAR)}; "
            f"the space's scope is {scope}: use rule joint, or a space of such a scope",
        )


def create(
    session: Session,
    *,
    name: str,
    opened: dict[str, Any],
    default_rule: str | None = None,
    shared: bool = False,
) -> Space:
    """Add a space from the `facts` of an opened one; the session's caller owns it.

    Raises:
        Conflict: `space_exists`.
        Invalid: as `check_rule`.
    """
    if default_rule is not None:
        check_rule(default_rule, opened["scope"])
    columns = opened | ({"default_rule": default_rule} if default_rule else {})
    space = Space(name=name, owner=callers.key_id_of(session), shared=shared, **columns)
    try:
        with session.begin_nested():
            session.add(space)
    except IntegrityError:
        raise Conflict(
            "space_exists", f"a space named {name!r} exists already: choose another name"
        ) from None
    return space


def ensure_default(session: Session, open_: Callable[[], Opened]) -> Space:
    """Return the default space; if there is none, add the space that `open_` opens."""
    space = session.get(Space, DEFAULT)
    if space is not None:
        return space
    try:
        return create(session, name=DEFAULT, opened=facts(open_()))
    except Conflict:  # another process was quicker
        return session.get_one(Space, DEFAULT)


def open_row(space: Space, open_: Callable[[], AnyOpened]) -> AnyOpened:
    """Return the space that `open_` opens, if it is the one of the row.

    Raises:
        SpaceUnavailable: `space_changed`, or `space_unavailable` if it does not open at all.
        NotReady: whatever opens it cannot do so now.
        OutOfMemory: the device has no room for it.
    """
    try:
        opened = open_()
    except (MemoryError, OutOfMemory, NotReady):
        raise  # says nothing about the space
    except Exception as error:  # another version of a library may fail in any way
        why = str(error) if isinstance(error, TangentError) else f"{type(error).__name__}: {error}"
        raise SpaceUnavailable(
            "space_unavailable",
            f"the backbone {space.backbone} of space {space.name!r} cannot be opened ({why}): "
            "restore the weights and versions it was made with; reading and deleting go on",
        ) from error
    if opened.fingerprint != space.fingerprint:
        raise SpaceUnavailable(
            "space_changed",
            f"space {space.name!r} was made with fingerprint {space.fingerprint}, but its backbone "
            f"{space.backbone} opens with {opened.fingerprint} here: restore the weights and "
            "versions it was made with, or train its components again by "
            f"`tangent spaces retrain {space.name}`; reading and deleting go on",
        )
    return opened


def exists(session: Session, name: str) -> bool:
    """Return True if there is a space of that name."""
    return session.get(Space, name) is not None


def is_as_it_was(session: Session, space: Space) -> bool:
    """Return True if there still is the space that this row was read of."""
    same = Space.name == space.name, Space.fingerprint == space.fingerprint
    return session.scalar(select(Space.name).where(*same)) is not None


def get(session: Session, name: str, *, of_anybody: bool = False) -> Space:
    """Return the space of that name, if the session's caller may see it or it may be anybody's.

    Raises:
        NotFound: `space_not_found`, with the names that exist.
    """
    space = session.get(Space, name)
    if space is None or not (of_anybody or callers.sees(session, name)):
        known = select(Space.name).where(*callers.seen(session, Space.name))
        names = ", ".join(session.scalars(known.order_by(Space.name).limit(20)))
        raise NotFound("space_not_found", f"no space {name!r} exists; there are: {names}")
    return space


def hold(session: Session, space: Space) -> None:
    """Keep a deletion of the space waiting until the transaction ends, which adds to it.

    Raises:
        NotFound: `space_not_found`, if it was deleted since it was read.
    """
    same = Space.name == space.name, Space.fingerprint == space.fingerprint
    held = select(Space.name).where(*same).with_for_update(read=True, key_share=True)
    if session.scalar(held) is None:
        raise NotFound("space_not_found", f"space {space.name!r} was deleted in the meantime")


def list_(session: Session, *, after: str | None, limit: int) -> list[Space]:
    """Return spaces after the cursor, sorted by name: those that the session's caller may see."""
    visible = callers.seen(session, Space.name)
    query = select(Space).where(*visible).order_by(Space.name).limit(limit)
    if after is not None:
        query = query.where(Space.name > after)
    return list(session.scalars(query.execution_options(**KEPT)))


def gone(session: Session, known: Mapping[str, str]) -> list[str]:
    """Return the names of these spaces, by fingerprints, that have no such row any more."""
    query = select(Space.name, Space.fingerprint).where(Space.name.in_(known))
    rows = {tuple(row) for row in session.execute(query)} if known else set()
    return [name for name, fingerprint in known.items() if (name, fingerprint) not in rows]


def labels(session: Session, space: Space) -> list[str]:
    """Return the space's sorted labels: the declared ones and those of its ready components.

    Read from the components each time, so a deleted component's labels are gone with it.
    """
    query = select(Component.labels).where(
        Component.space == space.name, Component.status == "ready"
    )
    found = set(space.declared_labels)
    for counts in session.scalars(query):
        found.update(counts)
    return sorted(found)
