"""Splits: images to train on, to choose settings by (val), and to test on.

    named("validation_set")    "val"
    named("fold1")             None: a split of another kind, so its images have none
    named("cat")               None, and `is_split` is false

A component never sees an image of val or test: see app.datasets.training_images.
"""

import re
from collections.abc import Iterable

from app.errors import Invalid

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
SPLIT = re.compile(
    r"((?P<train>train|training|train[ _-]?val)|(?P<val>val|valid|validation|dev|eval|evaluation)"
    r"|(?P<test>test|testing|pred|predict|hold[ _-]?out)"
    r"|unlabell?ed|(k[ _-]?)?folds?(?=[ _-]?\d))"
    # A run of digits is taken whole: in parts, it could be taken in more ways than can be tried.
    r"([ _-]?(sets?|data|images?|imgs?|split|\d+(?!\d)))*"
)
MAX_NAME = 64  # characters: a longer name is no split's


def is_split(name: str) -> bool:
    """Return whether a folder of this name holds a split."""
    return _found(name) is not None


def named(name: str) -> str | None:
    """Return the split that a folder's name or a cell of a manifest means, if any."""
    found = _found(name)
    return None if found is None else next((kind for kind in SPLITS if found[kind]), None)


def _found(name: str) -> re.Match[str] | None:
    return SPLIT.fullmatch(name.casefold()) if len(name) <= MAX_NAME else None


def is_training(split: str | None) -> bool:
    """Return whether components are trained on images of this split."""
    return split in (None, TRAIN)


def nothing_to_train(data: str, splits: Iterable[str]) -> Invalid:
    """Return the problem of data whose images are all held back."""
    return Invalid(
        "nothing_to_train",
        f"all images of {data} are in {' and '.join(sorted(splits))}, and a component is trained "
        "on train and on images without a split alone: put them in train/ or without a folder for "
        "a split to train on them",
    )


def strictest(splits: Iterable[str | None]) -> str | None:
    """Return the split of files with equal bytes: test before val, val before train, then none.

    So whatever an image is tested with is never trained on, however often the archive holds it.
    """
    return max(splits, key=lambda each: -1 if each is None else SPLITS.index(each))
