"""Plans to change a dataset that stays: to remove one image, or to rename labels.

A plan is read with nothing locked. app.unlearning.dataset_change makes the components' new files by
the plan, and `change.of_plan` locks the rows if they are still as they were read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.database.tables import Component, Dataset, Image, Space
from app.errors import Conflict, Invalid
from app.store import components, datasets
from tangent.components.labels import fault, meant, tidy


@dataclass(frozen=True)
class Plan:
    """The images and labels to change, and the ready components that were trained from them."""

    dataset: Dataset
    removed: list[Image]
    renamed: dict[str, str]  # old label -> new one
    components: list[tuple[Component, Space]]


def removal(session: Session, dataset_id: str, image_id: str) -> Plan:
    """Plan to remove one image.

    Raises:
        NotFound, Gone: as `datasets.image`.
        Conflict: `dataset_would_be_empty`.
    """
    dataset, image = datasets.image(session, dataset_id, image_id)
    if dataset.num_images == 1:
        raise Conflict(
            "dataset_would_be_empty",
            f"image {image_id} is the last one of dataset {dataset_id}: delete the dataset, "
            f"DELETE /v1/datasets/{dataset_id}?cascade=true with what was trained from it",
        )
    return Plan(dataset, [image], {}, _ready(session, dataset_id))


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
    return Plan(dataset, removed, renamed, _ready(session, dataset_id))


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


def _ready(session: Session, dataset_id: str) -> list[tuple[Component, Space]]:
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
