"""Labels for the images of an archive from their folders.

cat/1.png  dog/2.png                 the first folder is the label
pets/cat/1.png  pets/dog/2.png       a single root folder around everything is skipped
train/cat/1.png  test/dog/2.png      folders named for a split are skipped, and tell the split
cat/train/1.png  dog/test/2.png      within the labels too
train/cat/1.png  test/2.png          the second image has no label
cat/1.png  unlabelled/2.png          nor has it here
images/1.png  masks/1.png            nor have these: the layout is that of another task

A label is never guessed: where the folders cannot tell, there is none, or the layout is refused.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.archives.splits import TRAIN, is_split, named
from app.errors import Invalid

UNLABELLED = re.compile(r"unlabell?ed([ _-]?(set|data|images?))?")
IMAGES = frozenset(
    ["images", "image", "imgs", "img", "jpegimages", "pictures", "pics", "jpeg", "jpg", "png"]
)
MASKS = frozenset(
    [
        *("masks", "labels", "annotations", "annotation", "gt", "ground_truth", "groundtruth"),
        *("segmentationclass", "segmentationobject", "imagesets", "bboxes"),
    ]
)
MASKS_BESIDE_IMAGES = MASKS | {"mask", "label"}  # alone these may be labels
OTHER_TASKS = frozenset(["obj_train_data", "obj_valid_data", "obj_test_data"]) | IMAGES | MASKS
MAX_LOOKED_AT = 16  # folders of a path that may be called images, masks or a split
WHAT_TO_DO = (
    "put every image in a folder named for its label, with no folders in it, or add a metadata.csv "
    "with the columns file_name and label"
)


class Seen(NamedTuple):
    """Paths through one folder, by whether the image lies in the folder itself or deeper."""

    direct: str | None
    deeper: str | None
    inner: set[str]  # names of the folders in it


class Placed(NamedTuple):
    """An image's label and split, as far as its folders tell them."""

    label: str | None
    split: str | None  # the folder of its split


def placed(paths: Sequence[str]) -> Iterator[Placed]:
    """Yield for every path what its folders tell.

    Raises:
        Invalid: `ambiguous_layout` if a folder around everything holds both images and folders, or
            if splits and other folders lie side by side.
    """
    starts = array("H", bytes(2 * len(paths)))  # of the part that is the label, if a part follows
    splits: list[str | None] = [None] * len(paths)
    while (skipped := _skipped(_folders_at(paths, starts))) is not None:
        for place, path in enumerate(paths):
            if (end := path.find("/", starts[place])) >= 0:
                splits[place] = splits[place] or skipped[path[starts[place] : end]]
                starts[place] = end + 1
    for path, start, split in zip(paths, starts, splits, strict=True):
        end = path.find("/", start)
        label = path[start:end] if end >= 0 else None
        unlabelled = label is not None and UNLABELLED.fullmatch(label.casefold())
        if split is None and end >= 0:
            split = next((each for each in folders_of(path, end + 1) if is_split(each)), None)
        yield Placed(None if unlabelled else label, split)


def split_of(folder: str | None) -> str | None:
    """Return the split that the folder of one holds: `seg_train` holds train; None if none."""
    return (
        None
        if folder is None
        else named(folder) or named(folder.replace("-", "_").rpartition("_")[2])
    )


def splits(paths: Sequence[str]) -> list[str | None]:
    """Return the folders of the images' splits, where a manifest tells their labels.

    There are none unless images for training are among them: `test` may be the name of a group.
    """
    found = [next((each for each in folders_of(path) if is_split(each)), None) for path in paths]
    known = any(split_of(folder) == TRAIN for folder in found)
    return found if known else [None] * len(paths)


def masks(paths: Sequence[str]) -> Iterator[str | None]:
    """Yield for every path the folder of masks that it lies in, beside a folder of images."""
    with_images = {
        parent for path in paths for parent, name in _parents(path) if name.casefold() in IMAGES
    }
    for path in paths:
        yield next(
            (
                f"{parent}{name}"
                for parent, name in _parents(path)
                if name.casefold() in MASKS_BESIDE_IMAGES and parent in with_images
            ),
            None,
        )


def _parents(path: str) -> Iterator[tuple[str, str]]:
    """Yield the folders of a path that may hold images or masks, each with what is before it."""
    start = 0
    for name in folders_of(path):
        if name.casefold() in IMAGES or name.casefold() in MASKS_BESIDE_IMAGES:
            yield path[:start], name
        start += len(name) + 1


def folders_of(path: str, start: int = 0) -> Iterator[str]:
    """Yield the names of the path's first folders from this place on."""
    for _ in range(MAX_LOOKED_AT):
        end = path.find("/", start)
        if end < 0:
            return
        yield path[start:end]
        start = end + 1


def _folders_at(paths: Sequence[str], starts: Sequence[int]) -> dict[str, Seen]:
    """Return the folders that begin at these places."""
    found: dict[str, Seen] = {}
    for path, start in zip(paths, starts, strict=True):
        end = path.find("/", start)
        if end < 0:
            continue  # an image without a folder has no label at any depth
        name = path[start:end]
        direct, deeper, inner = found.get(name, (None, None, set[str]()))
        if (inner_end := path.find("/", end + 1)) < 0:
            direct = direct or path
        else:
            deeper = deeper or path
            inner.add(path[end + 1 : inner_end])
        found[name] = Seen(direct, deeper, inner)
    return found


def _skipped(folders: dict[str, Seen]) -> dict[str, str | None] | None:
    """Return the folders if they are one root folder, splits, or another task's; None if labels.

    A split's value is its name.
    """
    names = {name: name.casefold() for name in folders}
    splits = _splits(names)
    if not all(name in splits or names[name] in OTHER_TASKS for name in folders):
        _refuse_mixed(names, splits, folders)
        if len(folders) > 1 or next(iter(folders.values())).deeper is None:
            return None
    for direct, deeper, _ in folders.values():
        if direct and deeper:
            raise Invalid(
                "ambiguous_layout",
                f"images lie both in a folder ({direct!r}) and in folders within it ({deeper!r}): "
                + WHAT_TO_DO,
            )
    return {name: name if name in splits else None for name in folders} or None


def _splits(names: dict[str, str]) -> set[str]:
    """Return the names of splits: `train`, `test_set`, and `seg_train` if there is `seg_test`."""
    found = {name for name, folded in names.items() if is_split(folded)}
    prefixed: dict[str, dict[str, bool]] = {}
    for name, folded in names.items():
        prefix, _, rest = folded.replace("-", "_").rpartition("_")
        if prefix and is_split(rest):
            prefixed.setdefault(prefix, {})[name] = _is_for_training(rest)
    for group in prefixed.values():
        if len(set(group.values())) == 2:
            found |= set(group)
    return found


def _is_for_training(split: str) -> bool:
    return split.startswith("train")


def _refuse_mixed(names: dict[str, str], splits: set[str], folders: dict[str, Seen]) -> None:
    """Refuse splits beside other folders, unless what looks like a split can only be a label.

    `train` and `test` together are splits, and so is one with the labels of its neighbours in it.
    """
    kinds = {"train" in names[name] for name in splits}
    labels = {*names} - splits
    beside = {names[name] for name in labels}.union(*(_labels_in(folders[name]) for name in labels))
    if len(kinds) == 2 or any(_labels_in(folders[name]) & beside for name in splits):
        some = ", ".join(map(repr, sorted(splits)[:3]))
        other = min(name for name in names if name not in splits)
        raise Invalid(
            "ambiguous_layout",
            f"folders named for splits, {some}, lie beside {other!r}, which is none: leave it out, "
            "or add a metadata.csv with the columns file_name and label",
        )


def _labels_in(folder: Seen) -> set[str]:
    """Return the names of folders within a folder that may be labels."""
    inner = {name.casefold() for name in folder.inner}
    return {name for name in inner if not (name in OTHER_TASKS or is_split(name))}
