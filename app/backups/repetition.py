"""The repetition of deletions on a restored store, as the API makes them, in the ledger's order."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.backups.later_deletions import CHANGES, SPACE, TABLES, Deletion, Labels
from app.database.audit import by_command
from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Image
from app.datasets import datasets
from app.errors import Conflict
from app.parts import Parts
from app.unlearning import change, change_plan, space_deletion
from app.unlearning.change_plan import Unchanged
from app.unlearning.dataset_change import change_dataset
from app.unlearning.unlearn import Unlearned, unlearn


class Repeated(NamedTuple):
    """Sentences on deletions that were made again, and on those that could not be."""

    done: list[str]
    open_ends: list[str]


def repeat(parts: Parts, deletions: Sequence[Deletion], labels: Mapping[str, Labels]) -> Repeated:
    """Make the deletions again, each with a receipt of its own.

    `labels` are those that renamed datasets have in the store whose ledger it is, where they are
    known: receipts do not hold them.
    """
    repeated = Repeated([], [])
    doomed = {each.id for each in deletions if each.kind == "dataset"}
    for each in deletions:
        acting = parts.bound(parts.caller, by_command("tangent restore", each.id))
        if each.kind == "labels":
            if each.id not in doomed:
                _rename(acting, each, labels.get(each.id), repeated)
            continue
        if each.kind == "images":
            repeated.open_ends.append(
                f"images were added to {each.id} after the backup (receipt {each.receipt_id}), and "
                "the backup has not got them: add them again"
            )
            continue
        if each.kind == SPACE:
            _delete_space(acting, each, repeated)
            continue
        with transaction(parts.reading) as session:
            row = session.get((TABLES | CHANGES)[each.kind], each.id)
        if row is None or (isinstance(row, Image) and row.dataset_id in doomed):
            continue  # it went or goes with another one
        if each.kind == "label":
            assert isinstance(row, Image)
            _correct(acting, each, row, labels.get(row.dataset_id, {}).get(row.id), repeated)
            continue
        made = _deleted(acting, row)
        repeated.done.append(
            f"{each.id} was deleted again, see receipts {each.receipt_id} and {made.receipt.id}"
        )
    return repeated


def _delete_space(parts: Parts, deletion: Deletion, repeated: Repeated) -> None:
    of_space = partial(space_deletion.of_space, name=deletion.id, cascade=True)
    try:
        made = unlearn(parts, of_space)
    except Conflict as conflict:  # it keeps datasets from others that it did not keep then
        repeated.open_ends.append(
            f"space {deletion.id!r} was deleted after the backup (receipt {deletion.receipt_id}), "
            f"and is there again: {conflict.detail}"
        )
        return
    repeated.done.append(
        f"space {deletion.id!r} was deleted again, see receipts {deletion.receipt_id} and "
        f"{made.receipt.id}"
    )


def _deleted(parts: Parts, row: object) -> Unlearned:
    if isinstance(row, Dataset):
        return unlearn(parts, partial(change.of_dataset, dataset_id=row.id, cascade=True))
    if isinstance(row, Component):
        return unlearn(parts, partial(change.of_component, component_id=row.id))
    assert isinstance(row, Image)
    plan = partial(change_plan.removal, dataset_id=row.dataset_id, image_id=row.id)
    return change_dataset(parts, plan)


def _rename(parts: Parts, deletion: Deletion, wanted: Labels | None, repeated: Repeated) -> None:
    with transaction(parts.reading) as session:
        names = None if wanted is None else _names(session, deletion.id, wanted)
    if names is None:
        repeated.open_ends.append(
            f"the labels of {deletion.id} were renamed after the backup (receipt "
            f"{deletion.receipt_id}), and receipts do not tell the new names: rename them again"
        )
    elif names:
        plan = partial(change_plan.relabelling, dataset_id=deletion.id, names=names)
        made = change_dataset(parts, plan)
        repeated.done.append(
            f"the labels of {deletion.id} were renamed again, see receipts {deletion.receipt_id} "
            f"and {made.receipt.id}"
        )


def _correct(
    parts: Parts, deletion: Deletion, image: Image, label: str | None, repeated: Repeated
) -> None:
    if label is None:
        repeated.open_ends.append(
            f"the label of {image.id} was corrected after the backup (receipt "
            f"{deletion.receipt_id}), and receipts do not tell the new one: correct it again"
        )
        return
    where, most = (image.dataset_id, image.id), parts.settings.max_labels
    try:
        made = change_dataset(
            parts, lambda session: change_plan.correction(session, *where, label, max_labels=most)
        )
    except Unchanged:  # a renaming of labels has done it
        return
    repeated.done.append(
        f"the label of {image.id} was corrected again, see receipts {deletion.receipt_id} and "
        f"{made.receipt.id}"
    )


def _names(session: Session, dataset_id: str, wanted: Labels) -> dict[str, str] | None:
    """Return the new names of labels that differ; None if the images do not tell them."""
    pairs = {
        (row.label, wanted[row.id])
        for row in datasets.rows(session, dataset_id)
        if row.id in wanted
    }
    names = dict(pairs)
    if len(names) < len(pairs):
        return None
    return {old: new for old, new in names.items() if old != new}
