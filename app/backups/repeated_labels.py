"""The labels of a restored dataset, made again as the newer store has them.

Receipts hold no labels. The labels that images have now are known from a store that still exists,
and are set directly, whatever ways led to them: images that were deleted have gone by then. Images
that became equal to others, and so went, are known from the receipts in any case.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.backups.later_deletions import MERGED, Deletion, Labels
from app.backups.repeated_deletions import Repeated, acting, delete_again
from app.database.sessions import transaction
from app.database.tables import Dataset, Image
from app.datasets import datasets
from app.errors import Conflict, Invalid
from app.parts import Parts
from app.unlearning import change_plan
from app.unlearning.change_plan import Plan, Unchanged
from app.unlearning.dataset_change import change_dataset


@dataclass(frozen=True)
class _Changes:
    """The later changes of one dataset's labels."""

    renamings: list[Deletion] = field(default_factory=list)
    corrections: list[Deletion] = field(default_factory=list)
    merged: list[Deletion] = field(default_factory=list)

    @property
    def receipts(self) -> str:
        """Return the ids of their receipts."""
        every = (*self.renamings, *self.corrections, *self.merged)
        return ", ".join(sorted({each.receipt_id for each in every}))


def repeat_labels(
    parts: Parts,
    deletions: Sequence[Deletion],
    labels: Mapping[str, Labels],
    repeated: Repeated,
) -> None:
    """Set the labels of every dataset in which they changed; delete what became equal to others.

    `labels` are those of the store whose ledger it is, by dataset; none are known from receipts.
    """
    for dataset_id, changes in _by_dataset(parts, deletions).items():
        wanted = labels.get(dataset_id)
        if wanted is not None:  # first, so that images that stay count those that became equal
            _set(parts, dataset_id, changes, wanted, repeated)
        for each in changes.merged:
            with transaction(parts.reading) as session:
                row = session.get(Image, each.id)
            if row is not None:
                delete_again(parts, each, row, repeated)
        if wanted is None:
            _tell_unknown(parts, dataset_id, changes, repeated)
        else:
            _set_rest(parts, dataset_id, changes, wanted, repeated)


def _by_dataset(parts: Parts, deletions: Iterable[Deletion]) -> dict[str, _Changes]:
    """Return the changes of datasets and images that are still there."""
    found: defaultdict[str, _Changes] = defaultdict(_Changes)
    with transaction(parts.reading) as session:
        for each in deletions:
            if each.kind == "labels" and session.get(Dataset, each.id) is not None:
                found[each.id].renamings.append(each)
            elif each.kind in ("label", MERGED) and (row := session.get(Image, each.id)):
                changes = found[row.dataset_id]
                (changes.merged if each.kind == MERGED else changes.corrections).append(each)
    return dict(found)


def _set(
    parts: Parts, dataset_id: str, changes: _Changes, wanted: Labels, repeated: Repeated
) -> str | None:
    """Set what can be set without losing an image that stays; return why nothing can be."""
    try:
        _correct(parts, dataset_id, changes.corrections, wanted, repeated)
        if changes.renamings:
            _rename(parts, dataset_id, changes.renamings, wanted, repeated)
    except (Conflict, Invalid) as problem:
        return problem.detail
    return None


def _set_rest(
    parts: Parts, dataset_id: str, changes: _Changes, wanted: Labels, repeated: Repeated
) -> None:
    """Set the labels that still differ, in the end image by image; what stays is an open end."""
    why = _set(parts, dataset_id, changes, wanted, repeated)
    every = (*changes.renamings, *changes.corrections, *changes.merged)
    if why is None:
        last = every[0].receipt_id
        each = [Deletion("label", id_, last) for id_ in _differing(parts, dataset_id, wanted)]
        try:
            _correct(parts, dataset_id, each, wanted, repeated)
        except (Conflict, Invalid) as problem:
            why = problem.detail
    if left := _differing(parts, dataset_id, wanted):
        why = why or "others have the same bytes under the new labels"
        repeated.open_ends.append(
            f"the labels of {dataset_id} were changed after the backup (receipts "
            f"{changes.receipts}), and {len(left)} images have other ones again, as {left[0]}: "
            f"{why}"
        )


def _tell_unknown(parts: Parts, dataset_id: str, changes: _Changes, repeated: Repeated) -> None:
    with transaction(parts.reading) as session:
        renamed = changes.renamings if session.get(Dataset, dataset_id) is not None else []
        corrected = [each for each in changes.corrections if session.get(Image, each.id)]
    repeated.open_ends.extend(
        f"the labels of {dataset_id} were renamed after the backup (receipt {each.receipt_id}), "
        "and receipts do not tell the new names: rename them again"
        for each in renamed
    )
    repeated.open_ends.extend(
        f"the label of {each.id} was corrected after the backup (receipt {each.receipt_id}), and "
        "receipts do not tell the new one: correct it again"
        for each in corrected
    )


def _rename(
    parts: Parts,
    dataset_id: str,
    renamings: list[Deletion],
    wanted: Labels,
    repeated: Repeated,
) -> None:
    """Rename the labels at once, where their images agree on the new names."""

    def plan(session: Session) -> Plan:
        names = _names(session, dataset_id, wanted)
        if not names:
            raise Unchanged
        return _sparing(wanted, change_plan.relabelling(session, dataset_id, names))

    try:
        made = change_dataset(acting(parts, renamings[0]), plan)
    except Unchanged:
        return
    receipts = ", ".join(each.receipt_id for each in renamings)
    repeated.done.append(
        f"the labels of {dataset_id} were renamed again, see receipts {receipts} and "
        f"{made.receipt.id}"
    )


def _correct(
    parts: Parts,
    dataset_id: str,
    corrections: Sequence[Deletion],
    wanted: Labels,
    repeated: Repeated,
) -> None:
    """Correct the images' labels; one may have to wait until another one has left its new label."""
    differing = set(_differing(parts, dataset_id, wanted))
    waiting = {each.id: each for each in corrections if each.id in differing}
    while waiting:
        done = [each for each in waiting.values() if _corrected(parts, each, wanted, repeated)]
        if not done:
            return
        for each in done:
            del waiting[each.id]


def _corrected(parts: Parts, deletion: Deletion, wanted: Labels, repeated: Repeated) -> bool:
    def plan(session: Session) -> Plan:
        of = session.get_one(Image, deletion.id).dataset_id, deletion.id, wanted[deletion.id]
        # The store has had these labels: on the way to them there may be more than its settings'.
        return _sparing(wanted, change_plan.correction(session, *of, max_labels=sys.maxsize))

    try:
        made = change_dataset(acting(parts, deletion), plan)
    except Unchanged:
        return False
    repeated.done.append(
        f"the label of {deletion.id} was corrected again, see receipts {deletion.receipt_id} and "
        f"{made.receipt.id}"
    )
    return True


def _sparing(wanted: Labels, plan: Plan) -> Plan:
    """Return the plan if it merges no image away that the newer store still has.

    Raises:
        Unchanged: it does.
    """
    if any(image.id in wanted for image in plan.removed):
        raise Unchanged
    return plan


def _differing(parts: Parts, dataset_id: str, wanted: Labels) -> list[str]:
    with transaction(parts.reading) as session:
        rows = datasets.rows(session, dataset_id)
        return [row.id for row in rows if wanted.get(row.id, row.label) != row.label]


def _names(session: Session, dataset_id: str, wanted: Labels) -> dict[str, str]:
    """Return the new names of labels that differ; none if the images do not agree on them."""
    pairs = {
        (row.label, wanted[row.id])
        for row in datasets.rows(session, dataset_id)
        if row.id in wanted
    }
    names = dict(pairs)
    if len(names) < len(pairs):
        return {}
    return {old: new for old, new in names.items() if old != new}
