"""One deletion that is made again on a restored store, as the API makes it.

Images and components that came after the backup are lost: a deletion that left them can find that
nothing would be left now. What is in its way then goes too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from app.backups.later_deletions import SPACE, Deletion
from app.database.audit import by_command
from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Image, Space
from app.errors import Conflict
from app.parts import Parts
from app.unlearning import change, change_plan, space_deletion
from app.unlearning.dataset_change import change_dataset
from app.unlearning.unlearn import Unlearned, unlearn


class Repeated(NamedTuple):
    """Sentences on deletions that were made again, and on those that could not be."""

    done: list[str]
    open_ends: list[str]


def acting(parts: Parts, deletion: Deletion) -> Parts:
    """Return the parts by which the restore makes this deletion."""
    return parts.bound(parts.caller, by_command("tangent restore", deletion.id))


def delete_again(parts: Parts, deletion: Deletion, row: object, repeated: Repeated) -> None:
    """Delete the row with all that must go with it, and tell of it; a refusal is an open end."""
    mine = acting(parts, deletion)
    what = f"space {deletion.id!r}" if deletion.kind == SPACE else deletion.id
    try:
        if isinstance(row, Image):
            made = _without_image(mine, deletion, row, repeated)
        else:
            made = _without(mine, row)
    except Conflict as conflict:
        repeated.open_ends.append(
            f"{what} was deleted after the backup (receipt {deletion.receipt_id}), and is there "
            f"again: {conflict.detail}"
        )
        return
    repeated.done.append(f"{what} was deleted again, {_see(deletion, made)}")


def delete_images_again(
    parts: Parts, deletions: Mapping[str, Sequence[Deletion]], repeated: Repeated
) -> None:
    """Delete images that went together, by dataset; leave those that something is in the way of.

    One by one, everything that was trained from a dataset would be made anew for each of them.
    """
    for dataset_id, some in deletions.items():
        if len(some) < 2:
            continue
        ids = [each.id for each in some]
        plan = partial(change_plan.removals, dataset_id=dataset_id, image_ids=ids)
        try:
            made = change_dataset(acting(parts, some[0]), plan)
        except Conflict:  # told where they are deleted one by one
            continue
        repeated.done.append(
            f"{len(some)} images of {dataset_id} were deleted again, {_see(some[0], made)}"
        )


def _without(parts: Parts, row: object) -> Unlearned:
    if isinstance(row, Space):
        return unlearn(parts, partial(space_deletion.of_space, name=row.name, cascade=True))
    if isinstance(row, Dataset):
        return unlearn(parts, partial(change.of_dataset, dataset_id=row.id, cascade=True))
    assert isinstance(row, Component)
    return unlearn(parts, partial(change.of_component, component_id=row.id))


def _without_image(parts: Parts, deletion: Deletion, image: Image, repeated: Repeated) -> Unlearned:
    plan = partial(change_plan.removal, dataset_id=image.dataset_id, image_id=image.id)
    try:
        return change_dataset(parts, plan)
    except Conflict as conflict:
        if conflict.code == "dataset_would_be_empty":
            with transaction(parts.reading) as session:
                dataset = session.get_one(Dataset, image.dataset_id)
            made = _without(parts, dataset)
            repeated.done.append(
                f"{dataset.id} had no other image than {image.id} in the backup, and was deleted "
                f"with what was trained from it, {_see(deletion, made)}"
            )
            return made
        if conflict.code != "nothing_left_to_train":
            raise
        _delete_untrainable(parts, deletion, conflict.extra["components"], repeated)
    return change_dataset(parts, plan)


def _delete_untrainable(
    parts: Parts, deletion: Deletion, ids: list[str], repeated: Repeated
) -> None:
    for component_id in ids:
        with transaction(parts.reading) as session:
            row = session.get(Component, component_id)
        if row is not None:  # else it was derived from another one
            made = _without(parts, row)
            repeated.done.append(
                f"{component_id} had no other image than {deletion.id} to be trained on in the "
                f"backup, and was deleted, {_see(deletion, made)}"
            )


def _see(deletion: Deletion, made: Unlearned) -> str:
    return f"see receipts {deletion.receipt_id} and {made.receipt.id}"
