"""Datasets and their images as they are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.components import ComponentOut
from app.schemas.receipts import ReceiptOut
from app.schemas.texts import Given, Text, at_most

MAX_RENAMED = 10_000
EXAMPLE: dict[str, Any] = {
    "id": "ds_0190",
    "name": "site-berlin",
    "num_images": 359,
    "labels": {"healthy": 182, "ill": 177},
    "num_rejected": 1,
    "files": {"total": 363, "labelled": 359, "rejected": 1, "passed_over": 2, "manifests": 1},
    "duplicates": 0,
    "damaged_images": 0,
    "sha256": "9f86…",
    "bytes": 1048576,
    "created_at": "2025-01-31T09:30:00.123456Z",
}
REJECTED = {
    "path": "ill/notes.txt",
    "reason": "this is not a JPEG, PNG, WEBP, BMP, GIF or TIFF image",
}


class ArchiveFiles(BaseModel):
    """The numbers of an archive's files by their outcome; every file has exactly one."""

    total: int = Field(description="files of the archive, folders not counted")
    labelled: int = Field(description="images of the dataset, and copies of them")
    rejected: int = Field(description="listed in rejected, which may also name missing files")
    passed_over: int = Field(description="added by systems: .DS_Store, Thumbs.db, __MACOSX/ …")
    manifests: int
    splits: dict[str, int] = Field(
        {},
        description="labelled files by the folder of their split, such as train and val: splits "
        "are merged, and a component trains on all of them; to hold one back, upload it as a "
        "dataset of its own",
    )


class DatasetSummary(BaseModel):
    """A dataset as lists show it: without its rejected files."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    name: str
    num_images: int = Field(description="accepted ones; of equal files under one label, one")
    labels: dict[str, int] = Field(description="images of each label")
    num_rejected: int = Field(
        description="files of the archive that were not accepted, and rows of a manifest without "
        "an image"
    )
    files: ArchiveFiles | None = Field(
        None,
        description="every file of the archive, counted once; null where an earlier version made "
        "the dataset, and once an image was deleted or a label renamed",
    )
    duplicates: int = Field(description="files whose bytes another file of the archive has too")
    damaged_images: int = Field(
        0,
        description="images whose bytes were missing or changed when they were last read: no "
        "training or evaluation takes the dataset until its pack is put back from a backup, or "
        "these images are deleted",
    )
    sha256: str | None = Field(
        description="of the archive; null once an image was deleted or a label renamed"
    )
    bytes: int = Field(description="of the archive; where sha256 is null, of the images' files")
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a dataset's row."""
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class RejectedFile(BaseModel):
    """A file that is not in the dataset."""

    path: str = Field(description="in the archive")
    reason: str


class DatasetOut(DatasetSummary):
    """A dataset."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE | {"rejected": [REJECTED]}})

    rejected: list[RejectedFile] = Field(description="the first thousand of them")
    warnings: list[str] = Field(
        [],
        description="what in the labels may not be as meant: names of cameras' folders, dates or "
        "splits, labels that look alike, splits that were merged; empty like files is null",
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        names = (*DatasetSummary.model_fields, "rejected")
        shown = {name: getattr(row, name) for name in names}
        return cls.model_validate(shown | {"warnings": (row.files or {}).get("warnings", [])})


class SharingDataset(BaseModel):
    """Another dataset with some of the same images."""

    dataset_id: str
    images: int = Field(description="how many of the images it holds too, byte for byte")


class UploadedDataset(DatasetOut):
    """A new dataset; with `train=true`, also the component that is being trained from it."""

    component: ComponentOut | None = None
    duplicate_of: list[SharingDataset] = Field(
        [],
        description="the ten datasets that hold most of its images already: components of both "
        "count such images twice, and a deletion from one leaves them in the other",
    )

    @classmethod
    def of(
        cls,
        row: Any,
        component: ComponentOut | None = None,
        sharing: Sequence[tuple[str, int]] = (),
    ) -> Self:
        shown = DatasetOut.of(row).model_dump()
        same = [SharingDataset(dataset_id=id_, images=images) for id_, images in sharing]
        return cls(**shown, component=component, duplicate_of=same)


class Relabelling(Given):
    """New names of labels."""

    model_config = ConfigDict(json_schema_extra={"example": {"rename": {"ill": "pneumonia"}}})

    rename: Annotated[
        dict[Text, Text], Field(min_length=1, max_length=MAX_RENAMED), at_most(MAX_RENAMED)
    ] = Field(
        description="old name → new name; onto a name that another label has, or twice onto one, "
        "merges",
    )


class RelabelledDataset(DatasetOut):
    """The dataset under its new labels."""

    receipt: ReceiptOut

    @classmethod
    def of(cls, row: Any, receipt: ReceiptOut | None = None) -> Self:
        return cls(**DatasetOut.of(row).model_dump(), receipt=receipt)


IMAGE: dict[str, Any] = {
    "id": "img_0190_000001",
    "path": "site-berlin/ill/scan-17.png",
    "label": "ill",
    "sha256": "77aa…",
    "media_type": "image/png",
    "width": 512,
    "height": 512,
    "bytes": 48213,
    "damaged": False,
}


class ImageOut(BaseModel):
    """An image of a dataset; its bytes are at the same path with its id."""

    model_config = ConfigDict(json_schema_extra={"example": IMAGE})

    id: str
    path: str = Field(description="in the archive")
    label: str
    sha256: str = Field(description="of the file's bytes")
    media_type: str
    width: int = Field(description="upright, as its EXIF orientation says")
    height: int
    bytes: int
    damaged: bool = Field(
        False, description="its bytes were missing or changed when they were last read"
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of an image's row."""
        names = set(cls.model_fields) - {"bytes"}
        return cls(**{name: getattr(row, name) for name in names}, bytes=row.pack_length)
