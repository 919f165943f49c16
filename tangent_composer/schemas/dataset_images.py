"""Changes of a dataset's images: added ones, removed ones, and a corrected label."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tangent_composer.schemas.datasets import (
    ArchiveFiles,
    DatasetOut,
    ImageOut,
    RejectedFile,
    SharingDataset,
)
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.texts import Given, Text

MAX_DELETED = 1000  # images by one request, whose receipt names each


class AddedArchive(BaseModel):
    """The archive of added images, by the outcome of its files."""

    added: int = Field(description="images that the dataset has gained")
    already_held: int = Field(
        description="files of images that the dataset has now in one place: copies within the "
        "archive, and of images that it had"
    )
    files: ArchiveFiles
    num_rejected: int
    rejected: list[RejectedFile] = Field(description="the first thousand of them")
    warnings: list[str]


class AddedImages(DatasetOut):
    """The dataset with the added images; `rejected` is of all its archives."""

    archive: AddedArchive
    duplicate_of: list[SharingDataset] = Field(
        [], description="the ten datasets that hold most of its images already, as of an upload"
    )
    receipt: ReceiptOut | None = Field(
        description="of what was made without the new images; null if none was new"
    )

    @classmethod
    def of(
        cls,
        row: Any,
        upload: Any = None,
        sharing: Sequence[tuple[str, int]] = (),
        receipt: ReceiptOut | None = None,
    ) -> Self:
        added = 0 if receipt is None else receipt.body["added_images"]
        archive = AddedArchive(
            added=added,
            already_held=upload.files.labelled - added,
            files=ArchiveFiles(**upload.files._asdict()),
            num_rejected=upload.rejected.count,
            rejected=[RejectedFile(**each) for each in upload.rejected.listed],
            warnings=upload.warnings,
        )
        same = [SharingDataset(dataset_id=id_, images=images) for id_, images in sharing]
        shown = DatasetOut.of(row).model_dump()
        return cls(**shown, archive=archive, duplicate_of=same, receipt=receipt)


class ImageDeletion(Given):
    """The images to remove from a dataset together."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"ids": ["img_0190_000001", "img_0190_000007"]}}
    )

    ids: list[Annotated[str, StringConstraints(max_length=64)]] = Field(
        min_length=1, max_length=MAX_DELETED
    )


class LabelCorrection(Given):
    """The label that an image should have had."""

    model_config = ConfigDict(json_schema_extra={"example": {"label": "healthy"}})

    label: Text = Field(description="one of the dataset's labels, or a new one")


class CorrectedImage(ImageOut):
    """The image under its new label."""

    receipt: ReceiptOut | None = Field(
        description="of what was measured with the old label; null if the image has had this one"
    )

    @classmethod
    def of(cls, row: Any, receipt: ReceiptOut | None = None) -> Self:
        return cls(**ImageOut.of(row).model_dump(), receipt=receipt)
