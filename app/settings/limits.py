"""The settings that bound what a request may take, and how many there may be."""

from pydantic import Field
from pydantic_settings import BaseSettings

MAX_SECONDS = 1_000_000  # databases count milliseconds in 32 bits


class Limits(BaseSettings):
    """A part of app.settings.Settings."""

    max_upload_bytes: int = Field(
        2 * 2**30, ge=1, description="maximum size of a dataset archive, in bytes"
    )
    max_concurrent_uploads: int = Field(
        2, ge=1, description="archives checked at the same time; further uploads wait"
    )
    max_dataset_images: int = Field(
        100_000, ge=1, description="maximum number of images in a dataset"
    )
    max_dataset_bytes: int = Field(
        8 * 2**30, ge=1, description="maximum unpacked size of an archive, in bytes"
    )
    max_labels: int = Field(
        1_000, ge=1, description="maximum number of labels in a dataset or space"
    )
    max_image_bytes: int = Field(
        20 * 2**20, ge=1, description="maximum size of an image file, in bytes"
    )
    max_image_pixels: int = Field(
        50_000_000, ge=1, description="maximum number of pixels in a decoded image"
    )
    max_decode_seconds: float = Field(
        5.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds of a processor for decoding an image; six times that for a prediction",
    )
    max_request_bytes: int = Field(
        64 * 2**20,
        ge=1,
        description="maximum size of any other request body, in bytes; of JSON, but for "
        "`/v1/predictions`, 4 MiB at most",
    )
    max_prediction_images: int = Field(
        64, ge=1, description="maximum number of images in a prediction"
    )
    max_queued_jobs: int = Field(
        1_000,
        ge=1,
        description="maximum number of evaluations and batch predictions that wait or run; beyond, "
        "the answer is 429",
    )
    max_components: int = Field(
        1_000, ge=1, description="maximum number of components in a composition"
    )
    max_attributed_components: int = Field(
        64, ge=1, description="maximum number of components in an attribution or a weight fit"
    )
    max_attributions: int = Field(
        1_024,
        ge=1,
        description="maximum number of images × components in an answer with attributions",
    )
    max_direction_numbers: int = Field(
        2**20,
        ge=1,
        description="maximum number of images × labels × components in an answer with directions",
    )
    max_solve_numbers: int = Field(
        2**25,
        ge=1,
        description="maximum number of images × labels × components in a weight fit, 8 bytes each",
    )
    max_report_images: int = Field(
        20_000,
        ge=1,
        description="maximum number of images in a label report, or a preview with a dataset",
    )
    calibration_images: int = Field(
        256,
        ge=0,
        le=4096,
        description="training images by which the novelty and the probabilities of a selection's "
        "answers are judged; they go through the backbone once after each change of it. 0: none",
    )
    client_seconds: float = Field(
        30.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds for a request's head, and for each further 16 KiB that a client sends "
        "or takes; slower connections are closed",
    )
    keep_alive_seconds: int = Field(
        90,
        ge=1,
        le=MAX_SECONDS,
        description="seconds that an idle connection stays open; more than a proxy keeps its own, "
        "which is 60 for nginx and AWS and 600 for Google Cloud",
    )
    max_connections: int = Field(
        1_000, ge=1, description="maximum number of open connections; others are answered 503"
    )
    max_connections_per_address: int = Field(
        500, ge=1, description="maximum number of open connections from one address"
    )
    session_seconds: int = Field(
        12 * 3600,
        ge=60,
        le=30 * 86400,
        description="seconds after which a browser has to send its key again, see api-keys.md",
    )
    max_event_streams: int = Field(
        200, ge=1, description="maximum number of open event streams; others are answered 503"
    )

    @property
    def max_archive_entries(self) -> int:
        """The most files and folders of an archive: its images, a file beside each, and more."""
        return 2 * self.max_dataset_images + 1000
