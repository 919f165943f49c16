"""A dataset's image rows as they change, and what the dataset's own row says of them."""

from collections import defaultdict

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.store import datasets
from app.store.tables import Dataset, Image
from app.unlearning.change_plan import Plan

ROWS_AT_ONCE = 500


def change(session: Session, dataset: Dataset, plan: Plan) -> None:
    """Change the rows as planned, and count anew."""
    if plan.renamed:
        _rename(session, dataset, plan)
    gone = [image.id for image in plan.removed]
    for start in range(0, len(gone), ROWS_AT_ONCE):
        some = gone[start : start + ROWS_AT_ONCE]
        session.execute(delete(Image).where(Image.id.in_(some)))
    _count(session, dataset)
    dataset.revision += 1
    session.flush()


def _rename(session: Session, dataset: Dataset, plan: Plan) -> None:
    """Give the images their new labels; one that stays counts the copies of those that go."""
    gone = {image.id for image in plan.removed}
    kept: dict[tuple[str, str], Image] = {}
    copies: defaultdict[tuple[str, str], int] = defaultdict(int)
    for image in datasets.rows(session, dataset.id):
        label = plan.renamed.get(image.label, image.label)
        copies[label, image.sha256] += image.copies
        if image.id not in gone:
            kept[label, image.sha256] = image
    for (label, sha256), image in kept.items():
        image.label, image.copies = label, copies[label, sha256]
    session.flush()


def _count(session: Session, dataset: Dataset) -> None:
    """The dataset's numbers, from its rows.

    Those of the archive would tell of what is not there any more, so its hash goes, and its size
    becomes that of the images' files.
    """
    of = Image.dataset_id == dataset.id
    by_label = select(Image.label, func.count()).where(of).group_by(Image.label)
    counted = session.execute(by_label).tuples()
    dataset.labels = dict(sorted(counted))
    dataset.num_images = sum(dataset.labels.values())
    totals = select(
        func.sum(Image.pack_length),
        func.sum(Image.copies),
        func.count(func.distinct(Image.sha256)),
    )
    size, copies, contents = session.execute(totals.where(of)).one()
    dataset.sha256, dataset.bytes, dataset.duplicates = None, int(size), int(copies) - contents
