"""The model of a pass: fixed when it is queued, opened when it is computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from app.database.tables import BatchPrediction, Component, Evaluation, Space
from app.inference.models import Model
from app.inference.selection import read_consistently, selection_fields, unavailable_components
from app.operations.calibration import Judge, judge_of
from app.parts import Parts
from app.store import components, spaces
from app.store.compositions import Selection
from app.store.members import require_unchanged
from tangent_composer.schemas.predictions import SelectionQuery


class Fixed(NamedTuple):
    """A selection as it was found, by ids, hashes and weights."""

    selection: dict[str, Any]  # the fields that describe it
    model: dict[str, Any]  # what is computed for it: its rule and parts
    unavailable: list[dict[str, str]]  # components that it is without


class Opened(NamedTuple):
    """A fixed model, ready to be computed with."""

    space: Space
    model: Model
    judge: Judge  # of the answers
    parts: list[dict[str, Any]]  # an id and a sha256 each, of all that the pass uses


def fix(
    parts: Parts, query: SelectionQuery, check: Callable[[tuple[str, ...]], object] = bool
) -> Fixed:
    """Return the query's selection as it is now; `check` gets the labels that it ranks.

    Its model is composed, so that a missing file is noticed now.

    Raises:
        NotFound, Gone, Conflict, Invalid, NotReady: as `read_consistently`, and as `check`.
    """

    def composed(selection: Selection) -> tuple[Selection, tuple[str, ...]]:
        model = parts.spaces.model(selection.space, *selection.served)
        return selection, parts.engine.compose(model)

    selection, labels = read_consistently(
        parts.reading,
        parts.engine,
        query,
        composed,
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
    )
    check(labels)
    members, rule = selection.served
    chosen = [{"id": row.id, "weight": weight, "sha256": row.sha256} for row, weight in members]
    return Fixed(
        selection_fields(selection),
        {"rule": rule, "parts": chosen},
        unavailable_components(selection),
    )


def open_fixed(parts: Parts, session: Session, row: Evaluation | BatchPrediction) -> Opened:
    """Return the model of a pass that has not ended.

    Raises:
        Gone, Conflict: as `require_unchanged`.
        SpaceUnavailable: as `OpenedSpaces.model`.
    """
    assert row.model is not None
    used = [*row.selection["components"], *row.model["parts"]]
    require_unchanged(session, used, None)
    space, rule = spaces.get(session, row.space), row.selection["rule"]
    model = parts.spaces.model(space, _members(session, row.model["parts"]), row.model["rule"])
    judge = judge_of(model.space, space, _members(session, row.selection["components"]), rule)
    return Opened(space, model, judge, used)


def _members(
    session: Session, parts: Sequence[Mapping[str, Any]]
) -> list[tuple[Component, float | None]]:
    return [(components.get(session, part["id"]), part["weight"]) for part in parts]
