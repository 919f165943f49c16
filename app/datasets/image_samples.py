"""A sample of the images that components were trained on: the same for the same images.

Those whose hashes are smallest are chosen, so that neither order nor history decides, and every
image is as likely as another. The copies of a chosen image are all found: another party may hold
it too, or the same one under a second label.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.row_checksums import KEPT, was_kept
from app.database.tables import Component, Dataset, Image
from app.datasets import privacy_ledger
from app.datasets.training_images import training_only
from app.datasets.training_overlap import of_sources, training_sources

MAX_COPIES = 100_000  # rows, of all chosen images together


class Sampled(NamedTuple):
    """An image, a dataset that holds its file, and its label in each component with it."""

    image: Image
    dataset: Dataset
    copies: list[tuple[int, str]]  # the component's place, and the label


def sampled(session: Session, components: Sequence[Component], most: int) -> list[Sampled]:
    """Return at most so many different images of the components' own training.

    Private components count as if none of their images were held, and so do those of a dataset with
    a privacy budget: numbers fitted to these would tell of them without noise.
    """
    places: dict[str, list[int]] = {}
    for place, component in enumerate(components):
        if component.derived is not None or component.privacy is not None:
            continue
        if component.dataset_id is not None:
            places.setdefault(component.dataset_id, []).append(place)
    for dataset_id in privacy_ledger.with_budget(session, places):
        del places[dataset_id]
    if not places or not most:
        return []
    mine = Image.dataset_id.in_(places), Image.damaged.is_(False), training_only()
    hashes = select(Image.sha256).where(*mine).distinct().order_by(Image.sha256).limit(most)
    chosen = list(session.scalars(hashes))
    rows = (
        select(Image)
        .where(*mine, Image.sha256.in_(chosen))
        .order_by(Image.sha256, Image.dataset_id, Image.label, Image.id)
        .limit(MAX_COPIES)
        .execution_options(**KEPT)
    )
    return _grouped(session, list(session.scalars(rows)), places)


def unseen(
    session: Session,
    component_ids: Sequence[str],
    dataset: Dataset,
    labels: Sequence[str],
    most: int,
) -> list[Sampled]:
    """Return at most so many of the dataset's images with these labels, none of them trained on.

    Training images are those of the components, and of what these were derived from.
    """
    sources, _ = training_sources(session, component_ids)
    trained = select(Image.sha256).where(of_sources(sources), training_only())
    mine = Image.dataset_id == dataset.id, Image.damaged.is_(False), Image.label.in_(labels)
    rows = (
        select(Image)
        .where(*mine, Image.sha256.not_in(trained))
        .order_by(Image.sha256, Image.label, Image.id)
        .limit(most)
        .execution_options(**KEPT)
    )
    return [Sampled(row, dataset, []) for row in session.scalars(rows) if not was_kept(row)]


def _grouped(
    session: Session, rows: Sequence[Image], places: Mapping[str, Sequence[int]]
) -> list[Sampled]:
    grouped: dict[str, list[Image]] = {}
    for row in rows:
        grouped.setdefault(row.sha256, []).append(row)
    if len(rows) == MAX_COPIES:  # the last one's may not be all
        grouped.popitem()
    for row in rows:
        if was_kept(row):  # a damaged row says nothing, and its image could not be left out
            grouped.pop(row.sha256, None)
    held = {row.dataset_id for each in grouped.values() for row in each[:1]}
    query = select(Dataset).where(Dataset.id.in_(held)).execution_options(**KEPT)
    datasets = {dataset.id: dataset for dataset in session.scalars(query)}
    return [
        Sampled(
            each[0],
            datasets[each[0].dataset_id],
            [(place, row.label) for row in each for place in places[row.dataset_id]],
        )
        for each in grouped.values()
    ]
