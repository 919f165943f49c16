"""Names and metadata: what a client may change of what it has made, and nothing else of it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock
from app.database.tables import Component, Composition, Dataset, now
from app.datasets import datasets
from app.errors import Invalid
from app.store import components, compositions
from app.store.composition_versions import precondition

MAX_PAIRS = 16  # of metadata, as `tangent_composer.schemas.names.Metadata` has it

Given = Mapping[str, Any]  # `name` and `metadata`, if they were given


def describe_dataset(session: Session, dataset_id: str, given: Given) -> Dataset:
    """Change the name and the metadata of a dataset.

    Raises:
        NotFound, Gone: as `datasets.get`.
        Invalid: as `merged`.
    """
    hold_write_lock(session)  # so that of two patches none undoes the other
    row = datasets.get(session, dataset_id)
    _describe(row, given)
    session.flush()
    return row


def describe_component(session: Session, component_id: str, given: Given) -> Component:
    """Change the name and the metadata of a component; its file has neither.

    Raises:
        NotFound, Gone: as `components.get`.
        Invalid: as `merged`.
    """
    hold_write_lock(session)
    row = components.get(session, component_id)
    _describe(row, given)
    session.flush()
    return row


def describe_composition(
    session: Session, name: str, given: Given, *, if_match: str | None
) -> Composition:
    """Change the metadata of a composition, which gives it another version.

    Raises:
        NotFound: as `compositions.get`.
        StaleVersion: `composition_changed` if its etag is not `if_match`.
        Invalid: as `merged`.
    """
    hold_write_lock(session)
    row = compositions.get(session, name)
    precondition(compositions.etag(row), if_match)
    before = row.tags
    _describe(row, given)
    if row.tags != before:
        row.updated_at = now()
    session.flush()
    return row


def merged(held: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return the metadata after a JSON merge patch.

    Raises:
        Invalid: `too_much_metadata`.
    """
    both = {} if patch is None else {**held, **patch}
    left = {key: value for key, value in both.items() if value is not None}
    if len(left) > MAX_PAIRS:
        raise Invalid(
            "too_much_metadata",
            f"the metadata would have {len(left)} pairs, the most is {MAX_PAIRS}: remove some with "
            "null in the same request",
        )
    return left


def _describe(row: Any, given: Given) -> None:
    if "name" in given:
        row.name = given["name"]
    if "metadata" in given:
        row.tags = merged(row.tags, given["metadata"])
