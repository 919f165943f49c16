"""The numbers and warnings of a dataset's files once another archive was added to it."""

from collections.abc import Mapping
from typing import Any

from app.archives import joined_archives, lookalikes
from app.archives.label_warnings import warnings_of
from app.archives.outcomes import LabelledFile
from app.archives.uploads import LabelledImage, Upload
from app.database.tables import Dataset


def file_of(image: LabelledImage) -> LabelledFile:
    """Return the image of an upload as a file of its dataset, with what was told of itself."""
    return LabelledFile(image.label, image.own_split, image.group, None, image.image)


def by_folders(dataset: Dataset, upload: Upload) -> bool:
    """Return whether no manifest told a label, as far as is known."""
    return not (upload.files.manifests or (dataset.files or {}).get("manifests"))


def numbers(
    dataset: Dataset,
    upload: Upload,
    held: list[LabelledFile],
    files: list[LabelledFile],
) -> dict[str, Any] | None:
    """Return the numbers and warnings of the files of all archives, as of one that had them all."""
    if dataset.files is None:
        return None
    earlier, near = dict(dataset.files), lookalikes.found(joined_archives.unique(files))
    known = (earlier.pop("near_duplicates", None), upload.near_duplicates)
    warned = earlier.pop("warnings", [])  # an upload of before there were any has none
    stale = {each for one in known if one for each in lookalikes.warnings_of(one)}
    parts = (
        (held, not dataset.files.get("manifests")),
        ([file_of(each) for each in upload.images], not upload.files.manifests),
    )
    stale.update(*(warnings_of(part, by_folders=in_folders) for part, in_folders in parts if part))
    # What is said of a part is said of the whole instead. Only what the rows do not tell stays as
    # it was said: of equal files in one archive, and of its folders by their names.
    told = [each for each in (*warned, *upload.warnings) if each not in stale]
    told += warnings_of(files, by_folders=by_folders(dataset, upload))
    more = upload.files._asdict()
    return {name: _sum(count, more[name]) for name, count in earlier.items()} | {
        "warnings": list(dict.fromkeys([*told, *lookalikes.warnings_of(near)])),
        "near_duplicates": near,
    }


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
    return one + other
