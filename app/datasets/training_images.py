"""Training images: those of a dataset that its components see; val and test images are held back.

    select(Image).where(Image.dataset_id == id_, *training_only())

Everything that trains, makes again, subtracts or fits without being told a split goes by this.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.archives import splits
from app.archives.splits import TRAIN, is_training
from app.database.tables import Dataset, Image
from app.errors import Invalid

UNSPLIT = "none"  # in requests: images without a split
TRAINING = "training"  # what a fit takes by default: train, and images without a split


def is_for_training(image: Image) -> bool:
    """Return whether components of the image's dataset are trained on it."""
    return is_training(image.split)


def training_only() -> ColumnElement[bool]:
    """Return the condition of `is_for_training`."""
    return or_(Image.split.is_(None), Image.split == TRAIN)


def count_in(dataset: Dataset, split: str | None) -> int:
    """Return how many of the dataset's images are in this split; see `in_split`.

    Raises:
        Invalid: `split_empty`.
    """
    if split is None:
        return dataset.num_images
    in_splits = sum(dataset.splits.values())
    unsplit = dataset.num_images - in_splits
    trained = unsplit + dataset.splits.get(TRAIN, 0)
    counts = dataset.splits | {UNSPLIT: unsplit, TRAINING: trained}
    if found := int(counts.get(split, 0)):
        return found
    has = ", ".join(f"{count} in {name}" for name, count in sorted(dataset.splits.items()))
    wanted = "for training" if split == TRAINING else f"in split {split!r}"
    raise Invalid(
        "split_empty",
        f"dataset {dataset.id} has no image {wanted}: it has {has or 'none in any split'}, and "
        f"{unsplit} without a split; name another split",
    )


def in_split(split: str | None) -> Sequence[ColumnElement[bool]]:
    """Return the conditions of an image of this split; None: of any, `none`: without one."""
    if split is None:
        return ()
    if split == TRAINING:
        return (training_only(),)
    return (Image.split.is_(None) if split == UNSPLIT else Image.split == split,)


def label_counts(
    session: Session, dataset: Dataset, *conditions: ColumnElement[bool]
) -> dict[str, int]:
    """Return how many of the dataset's images have each label, under these conditions."""
    mine = Image.dataset_id == dataset.id, *conditions
    query = select(Image.label, func.count()).where(*mine).group_by(Image.label)
    return {label: count for label, count in sorted(session.execute(query).all())}  # noqa: C416


def training_labels(session: Session, dataset: Dataset) -> dict[str, int]:
    """Return how many training images of the dataset have each label.

    Raises:
        Invalid: `nothing_to_train`.
    """
    if not dataset.splits:
        return dict(dataset.labels)
    counts = label_counts(session, dataset, training_only())
    if not counts:
        raise nothing_to_train(dataset)
    return counts


def nothing_to_train(dataset: Dataset) -> Invalid:
    """Return the problem of a dataset whose images are all held back."""
    return splits.nothing_to_train(f"dataset {dataset.id}", dataset.splits)
