"""Evaluations: the request with a dataset and a selection, and the counts of right labels."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.answers import (
    CalibrationOut,
    UnavailableComponent,
    UsedComponent,
    UsedComposition,
)
from tangent_composer.schemas.datasets import thumbnail_of
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.passes import PassError, PassProgress, PassStatus
from tangent_composer.schemas.predictions import SelectionQuery
from tangent_composer.schemas.training_overlap import TrainedOn, overlap_fields

Change = Literal["fixed", "broken", "other"]
NUMBERS = ("num_images", "accuracy", "labels", "confusion", "calibration", "probabilities")


class EvaluationIn(SelectionQuery):
    """A dataset and the selection to try on it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"dataset_id": "ds_0190", "composition": "all-sites"}}
    )

    dataset_id: str = Field(max_length=64)
    split: SplitQuery | None = Field(
        None, description="of the dataset, none: images without one; else all of its images"
    )

    def in_split(self, split: SplitQuery) -> Self:
        """Return the request for this split of the dataset."""
        return self.model_copy(update={"split": split})


class LabelResult(BaseModel):
    """The result for the images of one true label."""

    images: int
    correct: int
    accuracy: float


class ReliabilityBin(BaseModel):
    """Images whose first label has a probability in one range: how sure, and how often right."""

    above: float = Field(description="the range's lower end; a range has a width of 1/15")
    images: int
    probability: float = Field(description="mean, of the first label")
    accuracy: float


class ProbabilityResult(BaseModel):
    """The quality of the probabilities, at the temperature of calibration."""

    expected_calibration_error: float = Field(
        description="mean difference of probability and accuracy over the bins, by images"
    )
    negative_log_likelihood: float | None = Field(description="mean, of the true labels")
    brier_score: float | None = Field(description="mean squared error over all labels, summed")
    unknown_labels: int = Field(
        description="images whose true label no component knows, which the two before leave out"
    )
    reliability: list[ReliabilityBin] = Field(description="without empty bins")


class EvaluationOut(TrainedOn):
    """An evaluation; its numbers are null until it is ready, and once a part of it is deleted."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "ev_0190",
                "status": "ready",
                "progress": {"done": 40, "total": 40},
                "error": None,
                "dataset_id": "ds_0190",
                "split": "test",
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "composition": {"name": "all-sites", "etag": "9b1d…"},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "unavailable_components": [],
                "num_images": 40,
                "trained_on": 0,
                "trained_on_unknown": None,
                "note": None,
                "accuracy": 0.95,
                "labels": {"seven": {"images": 20, "correct": 19, "accuracy": 0.95}},
                "confusion": {"seven": {"seven": 19, "one": 1}},
                "calibration": {
                    "images": 256,
                    "temperature": 1.3,
                    "no_temperature": None,
                    "no_novelty": None,
                },
                "probabilities": {
                    "expected_calibration_error": 0.03,
                    "negative_log_likelihood": 0.2,
                    "brier_score": 0.08,
                    "unknown_labels": 0,
                    "reliability": [
                        {"above": 0.8667, "images": 40, "probability": 0.92, "accuracy": 0.95}
                    ],
                },
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
    split: str | None = Field(None, description="null: all images of the dataset")
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
    calibration: CalibrationOut | None = None
    probabilities: ProbabilityResult | None = None
    invalidated_by: str | None = Field(description="the receipt of the deletion")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of an evaluation's row."""
        result = row.result or {}
        empty = dict.fromkeys(NUMBERS)
        return cls(
            id=row.id,
            status=row.status,
            progress=PassProgress(done=row.done, total=row.total),
            error=row.error and PassError(**row.error),
            dataset_id=row.dataset_id,
            split=row.split,
            invalidated_by=row.invalidated_by,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            **row.selection,
            **(empty | result | overlap_fields(row.result, result.get("num_images"))),
        )


class AnsweredImageOut(BaseModel):
    """An image of an evaluation, and what the evaluated selection answered."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "img_0190_000001",
                "path": "site-berlin/ill/scan-17.png",
                "label": "ill",
                "answered": "healthy",
                "thumbnail": "/v1/datasets/ds_0190/images/img_0190_000001?size=96",
                "before": "ill",
                "change": "broken",
            }
        }
    )

    id: str
    path: str = Field(description="in the archive")
    label: str = Field(description="the image's own")
    answered: str = Field(description="the label that was ranked first")
    thumbnail: str = Field(description="where a small copy of the image is")
    before: str | None = Field(
        None, description="what the evaluation answered that is compared with"
    )
    change: Change | None = Field(
        None,
        description="fixed: right now; broken: right before; other: wrong both times. Null without "
        "a comparison",
    )

    @classmethod
    def of(cls, answered: Any) -> Self:
        """Return the view of an image with its answers."""
        row = answered.image
        return cls(
            id=row.id,
            path=row.path,
            label=row.label,
            answered=answered.answered,
            thumbnail=thumbnail_of(row),
            before=answered.before,
            change=answered.change,
        )
