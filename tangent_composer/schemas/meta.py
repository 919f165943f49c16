"""The service's limits and readiness."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Limits(BaseModel):
    """The bounds of a request: settings, by their names, and bounds that follow from them."""

    max_upload_bytes: int
    max_concurrent_uploads: int
    max_archive_entries: int = Field(
        description="files and folders of an archive; follows from max_dataset_images"
    )
    max_dataset_images: int
    max_dataset_bytes: int
    max_labels: int
    max_image_bytes: int
    max_image_pixels: int
    max_decode_seconds: float
    max_request_bytes: int
    max_prediction_images: int
    max_components: int
    max_attributed_components: int
    max_attributions: int
    max_direction_numbers: int
    max_solve_numbers: int
    max_report_images: int
    max_connections: int
    max_connections_per_address: int
    max_event_streams: int
    max_concurrent_predictions: int
    max_waiting_predictions: int
    max_waiting_images: int
    max_queued_jobs: int


class Live(BaseModel):
    status: Literal["ok"]


class Check(BaseModel):
    ok: bool
    detail: str


class Ready(BaseModel):
    """The checks in order; each check depends on the checks before it."""

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="degraded: a space does not answer, but another one does; 200 like ok"
    )
    checks: dict[str, Check]
    spaces_unavailable: int = Field(
        description="spaces that did not open here as they were made; GET /v1/spaces has reasons"
    )
    epoch: int | None = Field(description="number of the last receipt this process has seen")
    workers: int | None = Field(description="training workers that gave a sign of life lately")
    workers_missing: str | None = Field(
        description="the reason why no worker runs; null while one does, or the database is away"
    )
    damaged: dict[str, int] | None = Field(
        description="how many components, images and rows are known to be damaged; the others "
        "answer, so this does not make the service unready; null while the database is away"
    )
    scrubbed_at: datetime | None = Field(
        description="when all files had been read through for the last time"
    )
