"""The audit log: who changed what, written in the transaction of the change itself.

    sessions = with_info(sessions, act=Act(…))

A transaction of such sessions that changes anything adds one entry, with the ids that the request's
path has and those of what was made, see app.database.changes. Names and labels are in no entry.
What has no id but its name is given by a hash, which `name_hash` finds again.
"""

import hashlib
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.row_checksums import KEPT
from app.database.tables import AuditEntry

MAX_OBJECTS = 100  # in one entry
DONE = "done"  # the outcome of a change; what was refused or failed has changed nothing


@dataclass(frozen=True)
class Act:
    """A request or a command that may change something."""

    key_id: str
    action: str
    objects: tuple[str, ...] = ()
    request_id: str | None = None


def by_command(command: str, *objects: str) -> Act:
    """Return the act of a command, by the user of the operating system who runs it."""
    user = os.getuid()
    try:
        return Act(f"command:{pwd.getpwuid(user).pw_name}", command, objects)
    except KeyError:  # a container's user without a name
        return Act(f"command:{user}", command, objects)


def name_hash(noun: str, name: str) -> str:
    """Return the id in the log of what has a name only: a space, a composition or a file."""
    return f"{noun}_{hashlib.sha256(f'{noun} {name}'.encode()).hexdigest()[:32]}"


def entry(act: Act, made: Iterable[str] = ()) -> AuditEntry:
    """Return the entry of the act, with the ids of what it has made."""
    return AuditEntry(
        key_id=act.key_id,
        action=act.action,
        objects=list(dict.fromkeys([*act.objects, *made]))[:MAX_OBJECTS],
        outcome=DONE,
        request_id=act.request_id,
    )


def list_(
    session: Session, *, after: str | None, limit: int, key_id: str | None = None
) -> list[AuditEntry]:
    """Return entries after the id `after`, oldest first: of one key, or of all."""
    query = select(AuditEntry).order_by(AuditEntry.id).limit(limit)
    if after is not None:
        query = query.where(AuditEntry.id > after)
    if key_id is not None:
        query = query.where(AuditEntry.key_id == key_id)
    return list(session.scalars(query.execution_options(**KEPT)))
