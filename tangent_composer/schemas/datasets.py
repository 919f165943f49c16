"""Datasets and their images as they are shown."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.names import Change, DatasetName
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.texts import Given, Text, at_most

MAX_RENAMED = 10_000
THUMBNAIL = 96  # pixels
EXAMPLE: dict[str, Any] = {
    "id": "ds_0190",
    "name": "site-berlin",
    "metadata": {"contract": "17"},
    "num_images": 359,
    "labels": {"healthy": 182, "ill": 177},
    "splits": {"test": 60, "train": 299},
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


def thumbnail_of(row: Any) -> str:
    """Return where a small copy of an image is."""
    return f"/v1/datasets/{row.dataset_id}/images/{row.id}?size={THUMBNAIL}"


def _shown(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a row; its metadata have another name in the table's class."""
    return {name: row.tags if name == "metadata" else getattr(row, name) for name in names}


class ArchiveFiles(BaseModel):
    """The numbers of an archive's files by their outcome; every file has exactly one."""

    total: int = Field(description="files of the archive, folders not counted")
    labelled: int = Field(description="images of the dataset, and copies of them")
    rejected: int = Field(description="listed in rejected, which may also name missing files")
    passed_over: int = Field(description="added by systems: .DS_Store, Thumbs.db, __MACOSX/ …")
    manifests: int
    splits: dict[str, int] = Field(
        {},
        description="labelled files by the folder of their split, such as training_set and val, "
        "where folders tell it",
    )


class DatasetSummary(BaseModel):
    """A dataset as lists show it: without its rejected files."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str
    name: str
    metadata: dict[str, str]
    num_images: int = Field(description="accepted ones; of equal files under one label, one")
    labels: dict[str, int] = Field(description="images of each label, in all splits")
    splits: dict[str, int] = Field(
        {},
        description="images of each split: train, val, test. A component is trained on train, and "
        "on images without a split; empty where no image has one, as in datasets of before there "
        "were splits, whatever files.splits says",
    )
    num_rejected: int = Field(
        description="files of the archive that were not accepted, and rows of a manifest without "
        "an image"
    )
    files: ArchiveFiles | None = Field(
        None,
        description="every file of the archive, counted once, of several archives together; null "
        "where an earlier version made the dataset, and once an image was deleted or a label "
        "changed",
    )
    duplicates: int = Field(description="files whose bytes another file of the archive has too")
    damaged_images: int = Field(
        0,
        description="images whose bytes were missing or changed when they were last read: no "
        "training or evaluation takes the dataset until its pack is put back from a backup, or "
        "these images are deleted",
    )
    sha256: str | None = Field(
        description="of the archive; null once an image was deleted or added, or a label changed"
    )
    bytes: int = Field(
        description="size of the archive in bytes; where sha256 is null, of the images' files"
    )
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a dataset's row."""
        return cls.model_validate(_shown(row, cls.model_fields))


class RejectedFile(BaseModel):
    """A file that is not in the dataset."""

    path: str = Field(description="in the archive")
    reason: str


class NearPair(BaseModel):
    """Two images that look alike."""

    distance: int = Field(description="bits of 144 by which their perceptual hashes differ")
    paths: list[str] = Field(description="of the two in the archive")


class NearDuplicates(BaseModel):
    """Images of an archive that look alike, by their perceptual hashes, with other bytes.

    They are a group, which no hold-out parts.
    """

    images: int = Field(description="that look like another one")
    pairs: list[NearPair] = Field(description="the nearest twenty")
    held_back_like_training: int = Field(
        description="images of val and test that look like a training image"
    )
    across_splits: list[NearPair] = Field(description="the nearest twenty of those pairs")
    not_compared: int = Field(description="images too even to have a perceptual hash")


class DatasetOut(DatasetSummary):
    """A dataset."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE | {"rejected": [REJECTED]}})

    rejected: list[RejectedFile] = Field(description="the first thousand of them")
    warnings: list[str] = Field(
        [],
        description="what in the labels may not be as meant: names of cameras' folders, dates or "
        "splits, labels that look alike, images that lie in several splits; empty like files is "
        "null",
    )
    near_duplicates: NearDuplicates | None = Field(
        None, description="null like files, and where an earlier version made the dataset"
    )

    @classmethod
    def of(cls, row: Any) -> Self:
        shown = _shown(row, (*DatasetSummary.model_fields, "rejected"))
        files = row.files or {}
        return cls.model_validate(
            shown
            | {
                "warnings": files.get("warnings", []),
                "near_duplicates": files.get("near_duplicates"),
            }
        )


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


class DatasetChange(Change):
    """A dataset's new name, and changes of its metadata; what it leaves out stays."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "site-berlin", "metadata": {"contract": "18"}}}
    )

    name: DatasetName = ""


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
    "split": "train",
    "group": "patient-17",
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
    split: str | None = Field(None, description="train, val or test")
    group: str | None = Field(
        None,
        description="patient, source file, video: what a manifest's column group says; several in "
        "lines of their own if files with the same bytes are in several",
    )
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
