"""Warnings of what, in labels and splits of an accepted upload, its owner may not have meant.

Nothing is refused for it: a label may be called 2024. Whoever reads the answer can tell.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from app.archives.layouts import IMAGES, MASKS_BESIDE_IMAGES, folders_of, split_of
from app.archives.outcomes import LabelledFile
from app.archives.splits import TEST, TRAIN, VAL, is_split
from tangent_composer.labels import tidy

MAX_SHOWN = 3  # examples in a sentence
MAX_FOLDERS = 10_000  # names of folders within labels that are compared
CAMERA = re.compile(
    r"[1-9]\d\d[A-Z0-9_]{5}"  # by the rule of cameras (DCF): 100CANON, 101APPLE
    r"|(?i:dcim|camera( roll)?|screenshots|whatsapp images|img_\d{8}.*|photos from \d{4})"
)
DATE = re.compile(r"(19|20)\d\d([-_. ]?(0[1-9]|1[0-2])([-_. ]?[0-3]\d)?)?([ _T-].*)?")
MISSING = ("nan", "na", "n/a", "#n/a", "none", "null", "nil", "undefined", "-", "?")
FRACTION = re.compile(r"-?\d+\.0+")
PIECE = re.compile(
    r"(.*[ _-])?(part|batch|chunk|shard|piece|subset|images?|imgs?|photos?|pictures?)[ _-]?\d+"
)
Labelled = Sequence[LabelledFile]


def warnings_of(labelled: Labelled, *, by_folders: bool) -> list[str]:
    """Return a sentence for each thing that may be otherwise than meant."""
    labels = sorted({file.label for file in labelled})
    found = [*_alike(labels), *_of_tables(labels)]
    if by_folders:
        found += [*_of_folders(labels), *_within(labelled)]
    return [*found, *_of_splits(labelled)]


def _of_splits(labelled: Labelled) -> Iterator[str]:
    merged = sorted({file.folder for file in labelled if file.folder and file.split is None})
    if merged:
        yield (
            f"the folders {_some(merged)} are merged: a component trains on all of them; to hold "
            "one back, call it val or test"
        )
    if taken := sorted({name for file in labelled for name in _held_back_folders(file)}):
        yield (
            f"images in the folders {_some(taken)} are trained on, as no images for training lay "
            "beside them: to hold them back, say so in a manifest's column split"
        )
    splits = {file.split or TRAIN for file in labelled}
    if TRAIN not in splits:
        held = " and ".join(sorted(splits))
        yield f"all images are in {held}: no component can be trained from this dataset"
    if len(splits) > 1 and (leaked := _in_several_splits(labelled)):
        shown = "; ".join(f"{one} and {other}" for one, other in leaked[:MAX_SHOWN])
        yield (
            f"images that lie in several splits, byte for byte: {len(leaked)} ({shown}); each is "
            "counted once, in test rather than in val, and in val rather than in train"
        )


def _held_back_folders(file: LabelledFile) -> Iterator[str]:
    """Yield folders above the label that are named for val or test, of an image without a split."""
    for name in folders_of(file.image.path) if file.split is None else ():
        if tidy(name) == file.label:
            return
        if split_of(name) in (VAL, TEST):
            yield name


def _in_several_splits(labelled: Labelled) -> list[tuple[str, str]]:
    """Return two paths in different splits for every content that has such; unsplit is training."""
    first: dict[bytes, dict[str, str]] = {}
    for file in labelled:
        paths = first.setdefault(file.image.sha256, {})
        paths.setdefault(file.split or TRAIN, file.image.path)
    several = [list(paths.values()) for paths in first.values() if len(paths) > 1]
    return [(one, other) for one, other, *_ in several]


def _of_folders(labels: list[str]) -> Iterator[str]:
    if all(CAMERA.fullmatch(label) for label in labels):
        yield f"the labels {_some(labels)} look like folders that a camera or a phone has made"
    elif all(DATE.fullmatch(label) for label in labels):
        yield f"the labels {_some(labels)} look like dates"
    elif all(PIECE.fullmatch(label.casefold()) for label in labels):
        yield f"the labels {_some(labels)} look like pieces of one dataset"
    elif len(labels) == 1:
        yield f"all images have one label, {labels[0]!r}, the name of the folder around them"
    if named := [label for label in labels if is_split(label)]:
        yield f"the labels {_some(named)} look like names of splits"


def _of_tables(labels: list[str]) -> Iterator[str]:
    if missing := [label for label in labels if label.casefold() in MISSING]:
        yield f"the labels {_some(missing)} look like missing values"
    if fractions := [label for label in labels if FRACTION.fullmatch(label)]:
        yield f"the labels {_some(fractions)} look like whole numbers that became fractions"


def _alike(labels: list[str]) -> Iterator[str]:
    """Yield a sentence if labels differ only in case, in width or in what cannot be seen."""
    looks: dict[str, list[str]] = {}
    for label in labels:
        looks.setdefault(_look(label), []).append(label)
    if groups := [group for group in looks.values() if len(group) > 1]:
        shown = "; ".join(_some(group) for group in groups[:MAX_SHOWN])
        yield f"labels look alike and are different ones: {shown}"


def _look(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    seen = (each for each in folded if unicodedata.category(each) != "Cf")
    return re.sub(r"[\s_-]+", " ", "".join(seen)).strip()


def _within(labelled: Labelled) -> Iterator[str]:
    """Yield a sentence if folders within the labels have the same names under several of them."""
    within: dict[str, set[str]] = {}
    for file in labelled:
        label, (*folders, _) = file.label, file.image.path.split("/")
        after = folders.index(label) + 1 if label in folders else len(folders)
        if after < len(folders) and len(within) < MAX_FOLDERS and _may_be_label(folders[after]):
            within.setdefault(folders[after], set()).add(label)
    if shared := sorted(name for name, labels in within.items() if len(labels) > 1):
        labels = sorted(within[shared[0]])
        yield (
            f"the folders {_some(shared)} lie within several labels ({_some(labels)}): the first "
            "folder is the label; if the inner ones are, put them first, or add a metadata.csv"
        )


def _may_be_label(name: str) -> bool:
    folded = name.casefold()
    return not (folded in IMAGES or folded in MASKS_BESIDE_IMAGES or is_split(name))


def _some(names: Sequence[str]) -> str:
    more = ", …" if len(names) > MAX_SHOWN else ""
    return ", ".join(map(repr, names[:MAX_SHOWN])) + more
