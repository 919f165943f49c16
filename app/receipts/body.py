"""The body of a receipt: what a deletion says of itself, beside what it removed.

    version 1   subject, removed, invalidated, labels, manifests, not_covered
    version 2   also requested_at, epoch, code, environment, probes

Nothing in it is content: ids, counts, times, versions and hashes, those of a user's data salted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.parts import Signer
from app.receipts.environment import code, environment
from app.store import write_lock
from app.store.tables import now, stamp

VERSION = 2
Probe = Callable[[Session, str], dict[str, Any]]  # of a space by name, as it is in the transaction


@dataclass(frozen=True)
class Circumstances:
    """How a deletion was asked for, and by what its receipt is signed and proved."""

    requested_at: datetime = field(default_factory=now)
    signer: Signer | None = None
    probe: Probe | None = None


def body(
    session: Session, how: Circumstances, spaces: Sequence[str], deleted: dict[str, Any]
) -> dict[str, Any]:
    """The whole body around what was `deleted`; the rows are gone, the receipt is the next one.

    `probes` is None where none was asked for.
    """
    probes = None if how.probe is None else [how.probe(session, space) for space in spaces]
    return {
        "version": VERSION,
        "requested_at": stamp(how.requested_at),
        "epoch": write_lock.deletions_so_far(session) + 1,
        **deleted,
        "probes": probes,
        "code": code(),
        "environment": environment(),
    }
