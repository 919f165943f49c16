"""Units of privacy: how a promise about images counts for groups of images, and one about groups.

A release whose unit is an image changes with each one by one step; so it changes with a group of
k images by k steps at most. A release whose unit is a group changes with one image by two: the
group without the image in place of the group. Noise over so many steps is that much less.

A group of one dataset touches every group of another that has its images, and one of its name.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from app.archives.groups import SEPARATOR, names_of
from app.database.tables import Image
from app.datasets.training_images import training_only
from app.errors import Invalid
from tangent.components.privacy import NO_GROUPS

IMAGE, GROUP = "image", "group"


class Release(NamedTuple):
    """The noise of one private training, and what its promise is about."""

    dataset_id: str | None  # None: imported
    noise_multiplier: float
    unit: str
    largest_group: int  # images, of its dataset when it was asked for


def counted(release: Release, unit: str, dataset_id: str | None, largest_group: int) -> float:
    """Return the noise multiplier with which a release counts for a unit of the dataset."""
    is_own = release.dataset_id in (None, dataset_id)
    if unit == IMAGE:
        steps = 1 if release.unit == IMAGE else 2
    elif release.unit == GROUP:
        steps = 1 if is_own else 1 + 2 * largest_group
    else:
        steps = release.largest_group + (0 if is_own else largest_group)
    return release.noise_multiplier / steps


def common(units: Sequence[str]) -> str:
    """Return the unit that promises about these units together are told for."""
    return GROUP if units and all(unit == GROUP for unit in units) else IMAGE


def largest_group(session: Session, dataset_id: str) -> int:
    """Return the number of different images in the dataset's largest group."""
    mine = Image.dataset_id == dataset_id, Image.group.is_not(None)
    several = Image.group.contains(SEPARATOR)
    if session.scalar(select(Image.id).where(*mine, several).limit(1)) is None:
        sizes = select(func.count(distinct(Image.sha256))).where(*mine).group_by(Image.group)
        return max(session.scalars(sizes), default=1)
    found = session.execute(select(Image.group, Image.sha256).where(*mine).distinct())
    images = {(name, sha256) for group, sha256 in found for name in names_of(group)}
    return max(Counter(name for name, _ in images).values())


def check_groups(session: Session, dataset_id: str) -> None:
    """Check that training images have groups, and that none is in two of them.

    Raises:
        Invalid: `bad_privacy`.
    """
    mine = Image.dataset_id == dataset_id, training_only()
    if session.scalar(select(Image.id).where(*mine, Image.group.is_not(None)).limit(1)) is None:
        raise Invalid("bad_privacy", f"dataset {dataset_id}: {NO_GROUPS}")
    groups = func.count(distinct(func.coalesce(Image.group, "")))
    several = or_(groups > 1, func.max(Image.group).contains(SEPARATOR))
    twice = select(func.min(Image.path)).where(*mine).group_by(Image.sha256).having(several)
    if path := session.scalar(twice.limit(1)):
        raise Invalid(
            "bad_privacy",
            f"the image {path!r} of dataset {dataset_id} is in two groups, so a promise about one "
            "of them would not hold for it: put it into one",
        )
