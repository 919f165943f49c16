"""Batch predictions: the request with a dataset or an archive, and the view of its progress."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.answers import UnavailableComponent, UsedComponent, UsedComposition
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.numbers import NUMBER_OR_TEXT
from tangent_composer.schemas.passes import PassError, PassProgress, PassStatus
from tangent_composer.schemas.predictions import RankingQuery

Format = Literal["jsonl", "csv"]
DETERMINISTIC = (
    "pass each image through the network by itself, for the very numbers of a deterministic "
    "prediction; else the images share passes with each other and with no other request, so that "
    "the same request gives the same bytes on the same machine and settings; slower"
)


class BatchOptions(RankingQuery):
    """The selection, and what to write of its answers."""

    deterministic: bool = Field(False, description=DETERMINISTIC)
    top_k: Annotated[int, NUMBER_OR_TEXT] = Field(
        5, ge=1, le=100, description="most labels in an image's line"
    )


class BatchPredictionIn(BatchOptions):
    """A dataset, whose images are to be predicted, and the selection."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"dataset_id": "ds_0190", "composition": "all-sites"}}
    )

    dataset_id: Annotated[str, Field(max_length=64)]
    split: SplitQuery | None = Field(
        None, description="of the dataset, none: images without one; else all of its images"
    )


class RejectedFile(BaseModel):
    path: str
    reason: str


class ArchiveOut(BaseModel):
    """An uploaded archive, whose images are kept until the batch prediction has ended."""

    sha256: str
    bytes: int
    num_images: int
    rejected: list[RejectedFile] = Field(
        description="files without a line, the first thousand; none in a list"
    )
    num_rejected: int


class BatchPredictionOut(BaseModel):
    """A batch prediction; its results are there while it is ready."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "bp_0190",
                "status": "running",
                "progress": {"done": 6400, "total": 20000},
                "error": None,
                "dataset_id": None,
                "split": None,
                "archive": {
                    "sha256": "e3b0…",
                    "bytes": 104857600,
                    "num_images": 20000,
                    "rejected": [{"path": "notes.txt", "reason": "it is no image"}],
                    "num_rejected": 1,
                },
                "num_errors": 0,
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "composition": {"name": "all-sites", "etag": "9b1d…"},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "unavailable_components": [],
                "invalidated_by": None,
                "created_at": "2025-01-31T09:30:00.123456Z",
                "started_at": "2025-01-31T09:30:01.123456Z",
                "finished_at": None,
            }
        }
    )

    id: str
    status: PassStatus
    progress: PassProgress
    error: PassError | None = Field(description="what made it fail")
    dataset_id: str | None = Field(description="null for an archive, or once it was deleted")
    split: str | None = Field(None, description="of the dataset; null: all of its images")
    archive: ArchiveOut | None = Field(description="null for a dataset")
    num_errors: int = Field(description="images with an error in place of labels, once it is ready")
    space: str
    fingerprint: str
    rule: str
    joint: str | None = Field(None, description="exact, refined or one_shot; null for other rules")
    composition: UsedComposition | None
    components: list[UsedComponent]
    unavailable_components: list[UnavailableComponent] = Field(
        description="components of all that the results are without, as their files were damaged"
    )
    invalidated_by: str | None = Field(description="the receipt of the deletion")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def listed(cls, row: Any) -> Self:
        """Return the view in a list, without the archive's rejected files."""
        shown = cls.of(row)
        if shown.archive is not None:
            shown.archive.rejected = []
        return shown

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a batch prediction's row."""
        return cls(
            id=row.id,
            status=row.status,
            progress=PassProgress(done=row.done, total=row.total),
            error=row.error and PassError(**row.error),
            dataset_id=row.dataset_id,
            split=row.split,
            archive=row.archive and ArchiveOut(**row.archive),
            num_errors=row.num_errors,
            invalidated_by=row.invalidated_by,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            **row.selection,
        )
