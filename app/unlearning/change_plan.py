"""Plans to change a dataset that stays: its images or its labels.

A plan is read with nothing locked. app.unlearning.dataset_change makes the components' new files by
the plan, and `change.of_plan` locks the rows if they are still as they were read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.archives.packs import Moved, Place
from app.archives.uploads import Upload
from app.database.tables import Component, Dataset, Image, Space
from app.datasets import datasets
from app.datasets.training_images import is_for_training, label_counts, training_only
from app.errors import Conflict, Invalid, TooLarge
from app.store import components
from app.unlearning import freed_splits
from app.unlearning.freed_splits import Freed
from tangent_composer.labels import fault, meant, tidy


class Unchanged(Exception):
    """The dataset is already as it is wanted."""


@dataclass(frozen=True)
class NewImages:
    """Images that a dataset gains, with the places that they get in its pack."""

    rows: list[dict[str, Any]]  # of the table
    merged: dict[str, "Merged"]  # by the id of an image that is held
    held_back: list[Image]  # that are for training no more, as the archive has them in val or test
    upload: Upload
    held: list[Place]  # in the pack, of all images that there are
    moved: list[Moved]  # from the upload's pack to the dataset's
    end: int  # of the pack
    files: dict[str, Any] | None  # numbers and warnings as of one archive; None: not known

    @property
    def bytes(self) -> int:
        """Return by how much the pack grows."""
        return sum(place.length for place, _ in self.moved)


class Merged(NamedTuple):
    """The archive's account of an image that is held."""

    copies: int  # further files with its bytes and label
    split: str | None  # which counts
    own_split: str | None
    group: str | None


class Correction(NamedTuple):
    """An image's new label, and the image that has its bytes under this label afterwards."""

    image: Image
    label: str
    kept: str  # its id


@dataclass(frozen=True)
class Plan:
    """The images and labels to change, and the ready components that were trained from them."""

    dataset: Dataset
    removed: list[Image]
    renamed: dict[str, str]  # old label -> new one
    components: list[tuple[Component, Space]]  # none where no component has seen the change's data
    is_seen: bool = True  # by trainings: False if all of it is of splits that are held back
    corrected: Correction | None = None
    added: NewImages | None = None
    freed: list[Freed] = field(default_factory=list)  # images that stay, with other splits

    @property
    def regained(self) -> list[Image]:
        """Return the images that are for training again, once those that held them back go."""
        return freed_splits.for_training(self.freed)


def removal(session: Session, dataset_id: str, image_id: str) -> Plan:
    """Plan to remove one image.

    Raises:
        NotFound, Gone: as `datasets.image`.
        Conflict: `dataset_would_be_empty`, `nothing_left_to_train`, `private_component`.
    """
    return removals(session, dataset_id, [image_id])


def removals(session: Session, dataset_id: str, image_ids: Collection[str]) -> Plan:
    """Plan to remove some images, all or none.

    Raises:
        NotFound, Gone: as `datasets.image`, of the first one that is not there.
        Conflict: `dataset_would_be_empty`, `nothing_left_to_train`.
    """
    found = [datasets.image(session, dataset_id, each) for each in sorted(set(image_ids))]
    dataset, images = found[0][0], [image for _, image in found]
    last = f"image {images[0].id} is the last one"
    last = last if len(images) == 1 else f"these {len(images)} images are the last ones"
    if len(images) == dataset.num_images:
        raise Conflict(
            "dataset_would_be_empty",
            f"{last} of dataset {dataset_id}: delete the dataset, "
            f"DELETE /v1/datasets/{dataset_id}?cascade=true with what was trained from it",
        )
    seen = sum(is_for_training(image) for image in images)
    freed = freed_splits.without(session, dataset_id, images)
    gained = len(freed_splits.for_training(freed))
    if not seen and not gained:
        return Plan(dataset, images, {}, [], is_seen=False, freed=freed)
    if not gained and sum(label_counts(session, dataset, training_only()).values()) == seen:
        check_no_component(session, dataset_id, last)
    return Plan(dataset, images, {}, trained(session, dataset_id), freed=freed)


def correction(
    session: Session, dataset_id: str, image_id: str, label: str, *, max_labels: int
) -> Plan:
    """Plan to give one image another label; of two images that become equal the first stays.

    Raises:
        Unchanged: it has that label.
        NotFound, Gone: as `datasets.image`.
        Invalid: `bad_label`.
        TooLarge: `too_many_labels`.
        Conflict: `privacy_required`, `private_component`.
    """
    dataset, image = datasets.image(session, dataset_id, image_id)
    name = meant(label, dataset.labels)
    if why := fault(name):
        raise Invalid("bad_label", f"the new label {name!r} {why}")
    if name == image.label:
        raise Unchanged
    if name not in dataset.labels and len(dataset.labels) >= max_labels:
        raise TooLarge(
            "too_many_labels",
            f"dataset {dataset_id} has {len(dataset.labels)} labels, the most are {max_labels}: "
            "give the image one of them",
        )
    same = Image.dataset_id == dataset_id, Image.label == name, Image.sha256 == image.sha256
    equal = session.scalar(select(Image).where(*same))
    first, *later = sorted([image, equal] if equal else [image], key=lambda each: each.id)
    correction = Correction(image, name, first.id)
    is_seen = is_for_training(image)
    ready = trained(session, dataset_id) if is_seen else []
    if is_seen:
        refuse_unnoised(session, dataset, "an image with another label")
    return Plan(dataset, later, {}, ready, is_seen, corrected=correction)


def check_no_component(session: Session, dataset_id: str, last: str) -> None:
    """Refuse to take the last training images from components; `last` says which those are.

    Raises:
        Conflict: `nothing_left_to_train`.
    """
    trained = Component.dataset_id == dataset_id, Component.status.in_(datasets.HOLDING)
    ids = list(session.scalars(select(Component.id).where(*trained).order_by(Component.id)))
    if ids:
        raise Conflict(
            "nothing_left_to_train",
            f"{last} that {', '.join(ids[:20])} can be trained on, as the dataset's others are "
            "held back: delete these components first",
            components=ids,
        )


def relabelling(session: Session, dataset_id: str, names: Mapping[str, str]) -> Plan:
    """Plan to rename labels, all at once; of images that become equal the first stays.

    Raises:
        Gone, NotFound: as `datasets.get`.
        Invalid: `unknown_label`, `bad_label` or `nothing_renamed`.
    """
    dataset = datasets.get(session, dataset_id)
    renamed = _checked(dataset, names)
    first: dict[tuple[str, str], str] = {}
    removed = []
    for image in sorted(datasets.rows(session, dataset_id), key=lambda image: image.id):
        content = renamed.get(image.label, image.label), image.sha256
        if first.setdefault(content, image.id) != image.id:
            removed.append(image)
    # Equal bytes have one split, and keep it as the one that stays takes over what was told of
    # the others: an image that goes for being equal was seen if the label was.
    if not renamed.keys() & label_counts(session, dataset, training_only()).keys():
        return Plan(dataset, removed, renamed, [], is_seen=False)
    return Plan(dataset, removed, renamed, trained(session, dataset_id))


def _checked(dataset: Dataset, names: Mapping[str, str]) -> dict[str, str]:
    new = {meant(old, dataset.labels): tidy(name) for old, name in names.items()}
    unknown = sorted(set(new) - set(dataset.labels))
    if unknown:
        raise Invalid(
            "unknown_label",
            f"dataset {dataset.id} has no label {', '.join(map(repr, unknown[:10]))}: it has "
            f"{', '.join(map(repr, list(dataset.labels)[:20]))}",
        )
    for name in new.values():
        if why := fault(name):
            raise Invalid("bad_label", f"the new label {name!r} {why}")
    if len(new) < len(names):
        raise Invalid("bad_label", "one label is named twice, in two spellings of Unicode: once")
    renamed = {old: name for old, name in new.items() if name != old}
    if not renamed:
        raise Invalid("nothing_renamed", "every label would keep its name: name another one")
    return renamed


def refuse_private(session: Session, dataset_id: str) -> None:
    """Refuse a change that a private component of the dataset would have to follow.

    It would be another version of it, and the difference of both would tell of the change.

    Raises:
        Conflict: `private_component`, with the ids as `components`.
    """
    private = Component.privacy.is_not(None), Component.status.in_(datasets.HOLDING)
    query = select(Component.id).where(Component.dataset_id == dataset_id, *private)
    if ids := list(session.scalars(query.order_by(Component.id))):
        raise Conflict(
            "private_component",
            f"dataset {dataset_id} has trained {', '.join(ids)} with differential privacy, and a "
            "second version without some image or with other labels would tell what changed: "
            "delete these first, and train a new one from the changed data at a new epsilon",
            components=ids,
        )


def refuse_unnoised(session: Session, dataset: Dataset, news: str) -> None:
    """Refuse news of images that components without noise would follow, if there is a budget.

    A deletion is no such news: what they tell becomes less.

    Raises:
        Conflict: `privacy_required`, with the ids as `components`.
    """
    if dataset.privacy_budget is None:
        return
    plain = Component.privacy.is_(None), Component.derived.is_(None)
    holding = Component.dataset_id == dataset.id, Component.status.in_(datasets.HOLDING)
    query = select(Component.id).where(*holding, *plain).order_by(Component.id)
    if ids := list(session.scalars(query)):
        raise Conflict(
            "privacy_required",
            f"dataset {dataset.id} has a privacy budget, and {', '.join(ids)}, trained from it "
            f"before without noise, would tell of {news}: delete these components first",
            components=ids,
        )


def trained(session: Session, dataset_id: str) -> list[tuple[Component, Space]]:
    """Return the ready components that were trained from the dataset: every plan asks here.

    What must not be told of single images is refused here, for all changes of a dataset alike.
    """
    refuse_private(session, dataset_id)
    query = (
        select(Component, Space)
        .join(Space, Space.name == Component.space)
        .where(
            Component.dataset_id == dataset_id,
            Component.status == "ready",
            Component.derived.is_(None),  # derived ones are removed, see app.unlearning.change
        )
        .order_by(Component.id)
        .options(*components.WITHOUT_TIMES, defer(Space.created_at, raiseload=True))
    )
    return [(row, space) for row, space in session.execute(query)]
