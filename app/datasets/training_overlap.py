"""Training overlap: how many images of a dataset some components were trained on, by equal bytes.

Accuracy on such images says little of new ones, so whatever shows an accuracy shows this number.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from app.database.tables import Component, ComponentParent, Dataset, Image, Space
from app.datasets.training_images import in_split, training_only

MAX_NAMED = 3  # components in a reason
MAX_LABELS = 10_000  # in a condition; beyond it all images of a source count
Sources = dict[str, set[str] | None]  # by dataset, the labels that were used; None: all


class TrainingOverlap(NamedTuple):
    """The images that were trained on, by label; or the reason why nobody here can tell."""

    by_label: Counter[str]
    unknown: str | None

    def among(self, labels: Collection[str] | None = None) -> dict[str, int | str | None]:
        """Return the number of images of these labels, or of all, as results hold it."""
        found = {
            label: n for label, n in self.by_label.items() if labels is None or label in labels
        }
        count = None if self.unknown else sum(found.values())
        return {"trained_on": count, "trained_on_unknown": self.unknown}


def training_overlap(
    session: Session, component_ids: Sequence[str], dataset_id: str, split: str | None, space: str
) -> TrainingOverlap:
    """Return which images of this split of the dataset have the bytes of a training image.

    Training images are those of the components, and of what these were derived from. Of datasets
    that not all who see the space may see, it is not told which images they hold.
    """
    sources, unknown = training_sources(session, component_ids)
    if _some_hidden(session, sources, space):
        why = "a component was trained on a dataset of a space that others may not see"
        return TrainingOverlap(Counter(), why)
    if unknown:
        named = ", ".join(unknown[:MAX_NAMED]) + (" …" if len(unknown) > MAX_NAMED else "")
        why = f"{named} was imported, and a file does not say what images it was trained from"
        return TrainingOverlap(Counter(), why)
    trained = select(Image.sha256).where(of_sources(sources), training_only())
    mine = Image.dataset_id == dataset_id, Image.sha256.in_(trained), *in_split(split)
    by_label = Counter[str]()
    query = select(Image.label, func.count()).where(*mine).group_by(Image.label)
    for label, count in session.execute(query):
        by_label[label] = count
    return TrainingOverlap(by_label, None)


def _some_hidden(session: Session, sources: Collection[str], space: str) -> bool:
    """Return whether one of the datasets is in another space that has an owner of its own."""
    private = Space.owner.is_not(None), Space.shared.is_(False), Space.name != space
    hidden = select(Dataset.id).join(Space, Space.name == Dataset.space)
    return session.scalar(hidden.where(Dataset.id.in_(sources), *private).limit(1)) is not None


def of_sources(sources: Sources) -> ColumnElement[bool]:
    """Return the condition of an image that is in a source, with one of the labels used of it."""
    named = {dataset_id: labels for dataset_id, labels in sources.items() if labels is not None}
    if sum(len(labels) for labels in named.values()) > MAX_LABELS:  # a statement has its bound
        named = {}
    parts = [
        and_(Image.dataset_id == dataset_id, Image.label.in_(sorted(labels)))
        for dataset_id, labels in named.items()
    ]
    return or_(Image.dataset_id.in_(sources.keys() - named.keys()), *parts)


def training_sources(session: Session, component_ids: Sequence[str]) -> tuple[Sources, list[str]]:
    """Return the datasets that the components know, and the ids of those that were imported.

    A private component uses the images of its own labels, all others those of every label.
    """
    sources, unknown = Sources(), set[str]()
    seen, latest = set[str](), set(component_ids)
    while latest:
        columns = Component.id, Component.dataset_id, Component.derived.is_(None), Component.privacy
        query = select(*columns).where(Component.id.in_(latest))
        for id_, dataset_id, is_plain, privacy in session.execute(query):
            if dataset_id is not None:
                known = sources.get(dataset_id, set())
                if privacy is None or known is None:
                    sources[dataset_id] = None
                else:
                    sources[dataset_id] = known | {*privacy["labels"]}
            elif is_plain:
                unknown.add(id_)
        seen |= latest
        links = select(ComponentParent.component_id, ComponentParent.parent_id)
        pairs = session.execute(links.where(ComponentParent.component_id.in_(latest))).all()
        unknown |= {child for child, parent in pairs if parent is None}
        latest = {parent for _, parent in pairs if parent is not None} - seen
    return sources, sorted(unknown)
