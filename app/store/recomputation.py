"""Components that can be made again from their retained images, and what the comparison says.

The command `tangent verify-components` and `POST /v1/components/{id}/verify` share it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.database.tables import Component, Image, Space
from app.datasets import privacy_ledger
from app.datasets.training_images import training_only
from app.errors import Conflict
from tangent.vocabulary import LINEAR


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison; `same` is None if the bytes cannot be compared."""

    same: bool | None
    text: str


def can_be_made_again() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that `check` holds a row to, for a query that joins the spaces."""
    trained = Component.dataset_id.is_not(None), Component.derived.is_(None)
    again = Component.privacy.is_(None)
    return (Component.status == "ready", *trained, again, Space.scope.in_(LINEAR))


def check(session: Session, row: Component) -> None:
    """Refuse a component that nothing here can make again to the byte.

    Raises:
        Conflict: `component_not_ready`, `component_not_trained_here`, `component_not_linear`;
            `private_component`.
    """
    if row.status != "ready":
        raise Conflict(
            "component_not_ready",
            f"component {row.id} is {row.status}: it can be verified once it is ready",
        )
    if row.dataset_id is None or row.derived is not None:
        raise Conflict(
            "component_not_trained_here",
            f"component {row.id} was imported or derived: there are no images here that it could "
            "be made from again; verify it where it was trained, or its signature",
        )
    if row.privacy is not None:
        raise privacy_ledger.refusal(
            row.id, "made again", "its noise is known to nobody; verify its signature instead"
        )
    scope = session.get_one(Space, row.space).scope
    if scope not in LINEAR:
        raise Conflict(
            "component_not_linear",
            f"component {row.id} is at scope {scope}, where a training takes many steps: only "
            f"components at the scopes {' and '.join(LINEAR)} are made again to be verified",
        )


def verdict(row: Component, *, stored: str, made: str, metrics: Mapping[str, Any]) -> Verdict:
    """Return what the hashes say: of the file, and of the one that was made again here.

    `metrics`: of the training that made it again.
    """
    if made == stored == row.sha256:
        return Verdict(True, "is what its images make, to the byte")
    if stored != row.sha256:
        return Verdict(False, "has a file with other bytes than its row says")
    if reason := row.metrics.get("not_repeatable"):
        return Verdict(None, f"was trained where bytes may differ each time: {reason}")
    there, here = row.metrics.get("environment"), metrics["environment"]
    if here != there:
        return Verdict(None, f"was trained as {there}, this is {here}: no bytes to compare")
    chose_otherwise = row.metrics.get("l2_chosen_by") != metrics.get("l2_chosen_by")
    if chose_otherwise and row.metrics.get("l2") != metrics["l2"]:
        return Verdict(
            None, "has an l2 that an older version chose in another way: no bytes to compare"
        )
    return Verdict(False, f"is not what its images make: that is {made}, this is {stored}")


def images_of(session: Session, dataset_id: str) -> tuple[int, str]:
    """Return how many images a training takes, and a hash that whoever has them can make too.

    The hash is the SHA-256 of the lines `<SHA-256 of the image's file> <label>`, sorted.
    """
    mine = Image.dataset_id == dataset_id, training_only()
    rows = session.execute(select(Image.sha256, Image.label).where(*mine))
    lines = sorted(f"{sha256} {label}\n".encode() for sha256, label in rows)
    return len(lines), hashlib.sha256(b"".join(lines)).hexdigest()
