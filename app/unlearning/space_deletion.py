"""The deletion of a space: of all that is in it as by deletions of their own, and of its row.

    unlearn(parts, partial(space_deletion.of_space, name="scans", cascade=True))

Datasets are not in a space: they stay, and whoever could see them still can.
"""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.access import callers
from app.database.sessions import hold_write_lock
from app.database.tables import Component, Composition, Dataset, Space
from app.errors import Conflict, Forbidden
from app.receipts.body import Subject
from app.store import components, spaces
from app.unlearning.change import Change, locked

MAX_NAMED = 20  # datasets, by an answer


def of_space(session: Session, name: str, *, cascade: bool) -> Change:
    """Lock a space and, with `cascade`, its components and compositions, to remove them.

    Raises:
        NotFound: `space_not_found`.
        Forbidden: `not_the_owner`.
        Conflict: `default_space`; `space_has_datasets` for one that not everybody sees;
            `space_in_use` if there is anything in it and `cascade` is false.
    """
    hold_write_lock(session)
    space = spaces.get(session, name)
    session.refresh(space, with_for_update=True)
    _check_owner(session, space)
    if name == spaces.DEFAULT:
        raise Conflict(
            "default_space",
            "the default space stays, as every start would make it again: delete its components "
            "and compositions",
        )
    _hand_over_datasets(session, space)
    if not cascade:
        _check_unused(session, name)
    rows = locked(session, Component.space == name)
    return Change(Subject(kind="space", id=name), rows, space=space)


def _check_owner(session: Session, space: Space) -> None:
    caller = callers.caller_of(session)
    if caller is not None and not caller.is_admin and space.owner != caller.id:
        raise Forbidden(
            "not_the_owner",
            f"only the owner of space {space.name!r}, or a key with scope admin, deletes it",
        )


def _hand_over_datasets(session: Session, space: Space) -> None:
    """Let everybody see the space's datasets without it, if everybody does with it."""
    mine = Dataset.space == space.name
    if space.owner is None or space.shared:
        session.execute(update(Dataset).where(mine).values(space=None))
        return
    query = select(Dataset.id).where(mine).order_by(Dataset.id).limit(MAX_NAMED)
    ids = list(session.scalars(query))
    if ids:
        count = session.scalar(select(func.count()).where(mine)) or 0
        raise Conflict(
            "space_has_datasets",
            f"space {space.name!r} keeps {count} datasets from others, such as {', '.join(ids)}: "
            "delete these first, or share the space, so that everybody may see them",
            datasets=ids,
        )


def _check_unused(session: Session, name: str) -> None:
    mine = Component.space == name, components.current()
    ids = list(session.scalars(select(Component.id).where(*mine).order_by(Component.id)))
    query = select(Composition.name).where(Composition.space == name).order_by(Composition.name)
    names = list(session.scalars(query))
    if ids or names:
        kinds = {"components": ids, "compositions": names}
        found = "; ".join(f"{kind} {', '.join(each[:20])}" for kind, each in kinds.items() if each)
        raise Conflict(
            "space_in_use",
            f"space {name!r} has {found}: delete these first, or repeat with ?cascade=true to "
            "delete them as well",
            components=ids,
            compositions=names,
        )
