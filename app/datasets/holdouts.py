"""Hold-outs of a dataset: whole groups of images, chosen by the hashes of their bytes alone.

A group is what a manifest says, or images that look alike: crops of one photograph on both sides
of a hold-out would measure how well that photograph is known. Nothing is stored: the groups are
those of the images that are there.
"""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.archives.groups import names_of
from app.database.tables import Dataset, Image
from app.datasets.training_images import in_split
from app.images.near_duplicates import groups_of

HELD_OUT = 5  # one image in so many


def held_out(
    session: Session, dataset: Dataset, split: str | None, labels: Collection[str]
) -> set[str]:
    """Return the ids of the images of these labels that a fit of weights does not see.

    They are the groups whose smallest hash is a multiple of five. If those are none or all, they
    are the group with the smallest hash of all.
    """
    columns = Image.id, Image.label, Image.sha256, Image.group, Image.perceptual_hash
    query = select(*columns).where(Image.dataset_id == dataset.id, *in_split(split))
    found = sorted(
        (row for row in session.execute(query) if row.label in labels),
        key=lambda row: (row.sha256, row.label),
    )
    alike = [names_of(row.group) for row in found], [row.sha256 for row in found]
    groups = groups_of([row.perceptual_hash for row in found], alike)
    # Sorted by hash, so that the first place of a group has its smallest one.
    chosen = {first for first in groups if int(found[first].sha256, 16) % HELD_OUT == 0}
    if not chosen or chosen == set(groups):
        chosen = set(groups[:1])
    return {row.id for row, first in zip(found, groups, strict=True) if first in chosen}
