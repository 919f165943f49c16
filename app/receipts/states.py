"""What a space looks like before and after a deletion, as its receipt tells of it: by hashes."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.receipts import ledger
from app.store import spaces


@dataclass(frozen=True)
class State:
    """What a space looks like at one moment of the transaction."""

    space: str
    labels: set[str]
    manifest: str
    components: int


def state(session: Session, name: str) -> State:
    """The space as it is now."""
    labels = set(spaces.labels(session, spaces.get(session, name)))
    return State(name, labels, *ledger.manifest(session, name))


def manifests(before: State, after: State) -> dict[str, Any]:
    """The hashes over the space's ready components, and how many these are."""
    return {
        "space": before.space,
        "before": before.manifest,
        "components_before": before.components,
        "after": after.manifest,
        "components_after": after.components,
    }


def labels_gone(
    salt: str, before: State, after: State, awaited: Collection[str] = ()
) -> dict[str, Any]:
    """The labels that the space has lost; `awaited` ones come back with a training."""
    lost = before.labels - after.labels - set(awaited)
    gone = sorted(salted(salt, label) for label in lost)
    return {"space": before.space, "count": len(gone), "salted_sha256": gone}


def salted(salt: str, content: str) -> str:
    """A hash by which who has the content can find it in a receipt."""
    # No two receipts can be matched by it, as each has a salt of its own.
    return hashlib.sha256(f"{salt}:{content}".encode()).hexdigest()
