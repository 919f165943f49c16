"""Evaluations: the request with a dataset and a selection, and the counts of right labels."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.passes import PassError, PassProgress, PassStatus
from app.schemas.predictions import (
    SelectionQuery,
    UnavailableComponent,
    UsedComponent,
    UsedComposition,
)


class EvaluationIn(SelectionQuery):
    """A dataset and the selection to try on it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"dataset_id": "ds_0190", "composition": "all-sites"}}
    )

    dataset_id: str = Field(max_length=64)


class LabelResult(BaseModel):
    """The result for the images of one true label."""

    images: int
    correct: int
    accuracy: float


class EvaluationOut(BaseModel):
    """An evaluation; its numbers are null until it is ready, and once a part of it is deleted."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "ev_0190",
                "status": "ready",
                "progress": {"done": 40, "total": 40},
                "error": None,
                "dataset_id": "ds_0190",
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "composition": {"name": "all-sites", "etag": "9b1d…"},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "unavailable_components": [],
                "num_images": 40,
                "accuracy": 0.95,
                "labels": {"seven": {"images": 20, "correct": 19, "accuracy": 0.95}},
                "confusion": {"seven": {"seven": 19, "one": 1}},
                "invalidated_by": None,
                "created_at": "2025-01-31T09:30:00.123456Z",
                "started_at": "2025-01-31T09:30:00.234567Z",
                "finished_at": "2025-01-31T09:30:02.345678Z",
            }
        }
    )

    id: str
    status: PassStatus
    progress: PassProgress
    error: PassError | None = Field(None, description="what made it fail")
    dataset_id: str | None
    space: str
    fingerprint: str
    rule: str
    joint: str | None = Field(None, description="exact, refined or one_shot; null for other rules")
    composition: UsedComposition | None
    components: list[UsedComponent]
    unavailable_components: list[UnavailableComponent] = Field(
        [], description="components of all that the result is without, as their files were damaged"
    )
    num_images: int | None
    accuracy: float | None = Field(description="share of images whose first label is the true one")
    labels: dict[str, LabelResult] | None = Field(description="by true label")
    confusion: dict[str, dict[str, int]] | None = Field(
        description="true label → answered label → images; without the zeros"
    )
    invalidated_by: str | None = Field(description="the receipt of the deletion")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of an evaluation's row."""
        empty = dict.fromkeys(("num_images", "accuracy", "labels", "confusion"))
        return cls(
            id=row.id,
            status=row.status,
            progress=PassProgress(done=row.done, total=row.total),
            error=row.error and PassError(**row.error),
            dataset_id=row.dataset_id,
            invalidated_by=row.invalidated_by,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            **row.selection,
            **(empty | (row.result or {})),
        )
