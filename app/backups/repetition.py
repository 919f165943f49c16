"""The repetition of later deletions on a restored store: first what was deleted, then labels."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

from app.backups.later_deletions import ADDITION, SPACE, TABLES, Deletion, Labels
from app.backups.repeated_deletions import Repeated, delete_again, delete_images_again
from app.backups.repeated_labels import repeat_labels
from app.database.sessions import transaction
from app.database.tables import Dataset, Image, Space
from app.parts import Parts

DELETED = TABLES | {SPACE: Space}


def repeat(parts: Parts, deletions: Sequence[Deletion], labels: Mapping[str, Labels]) -> Repeated:
    """Make the deletions again in the ledger's order, each with a receipt of its own, then labels.

    `labels` are those that datasets with changed labels have in the store whose ledger it is, where
    they are known: receipts do not hold them.
    """
    repeated = Repeated([], [])
    doomed = {each.id for each in deletions if each.kind == "dataset"}
    for _, together in groupby(deletions, lambda each: each.receipt_id):
        some = list(together)
        delete_images_again(parts, _images(parts, some, doomed), repeated)
        for each in some:
            table = DELETED.get(each.kind)
            if table is None:
                continue
            with transaction(parts.reading) as session:
                row = session.get(table, each.id)
            if row is None or (isinstance(row, Image) and row.dataset_id in doomed):
                continue  # it went or goes with another one
            delete_again(parts, each, row, repeated)
    repeat_labels(parts, deletions, labels, repeated)
    additions = [each for each in deletions if each.kind == ADDITION and each.id not in doomed]
    _tell_additions(parts, additions, repeated)
    return repeated


def _images(
    parts: Parts, deletions: Iterable[Deletion], doomed: Collection[str]
) -> dict[str, list[Deletion]]:
    """Return the deletions of images that are there, by dataset; none of those that go as whole."""
    found: defaultdict[str, list[Deletion]] = defaultdict(list)
    with transaction(parts.reading) as session:
        for each in deletions:
            row = session.get(Image, each.id) if each.kind == "image" else None
            if row is not None and row.dataset_id not in doomed:
                found[row.dataset_id].append(each)
    return found


def _tell_additions(parts: Parts, additions: Iterable[Deletion], repeated: Repeated) -> None:
    for each in additions:
        with transaction(parts.reading) as session:
            is_there = session.get(Dataset, each.id) is not None
        remedy = "add them again" if is_there else "upload them as a new dataset"
        repeated.open_ends.append(
            f"images were added to {each.id} after the backup (receipt {each.receipt_id}), and the "
            f"backup has not got them: {remedy}"
        )
