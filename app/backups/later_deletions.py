"""The deletions that were made after a backup, from a newer ledger, to be done again on a restore.

later = read(files, keys)              saved receipts, as for `tangent verify-receipts`
later = of_database(settings)          the ledger of a store that still exists
later.after(head)                      only those after the backup's head
add(session, later)                    the receipts as they are, and tombstones
repetition.repeat(parts, …)            the deletions themselves, with receipts of their own
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.backups import rows, store_access
from app.database.sessions import frozen_view
from app.database.tables import (
    Component,
    Dataset,
    Image,
    Receipt,
    ReceiptKey,
    Space,
    Tombstone,
)
from app.files import folder_identity
from app.receipts import body, ledger, tree
from app.receipts.body import Subject
from app.settings import BadSettings, Settings
from tangent_composer.receipts import offline
from tangent_composer.schemas.receipts import ReceiptOut

TABLES = {"component": Component, "dataset": Dataset, "image": Image}
CHANGES = {"labels": Dataset, "label": Image, "images": Dataset}  # what was changed, and stays
SPACE = "space"  # has no id: its name may come back
ADDITION = "images"  # in CHANGES
MERGED = "merged image"  # which became equal to another one when labels changed, and so went
OF_LABELS = ("labels", "label")
Labels = Mapping[str, str]  # image id -> label


class Deletion(NamedTuple):
    """A later deletion or change of something that the backup still has."""

    kind: str  # of TABLES or CHANGES, SPACE or MERGED
    id: str
    receipt_id: str


@dataclass(frozen=True)
class Ledger:
    """Receipts from the first on, and what else is known of the store that wrote them."""

    receipts: Sequence[dict[str, Any]]
    keys: Mapping[str, str]  # public keys that signed receipts, in PEM, by their ids
    labels: Mapping[str, Labels] = field(default_factory=dict)  # by dataset, after renamings

    def after(self, head: rows.Head) -> "Ledger":
        """Return the receipts after the backup's last one.

        Raises:
            BadSettings: this ledger does not go on from there.
        """
        if len(self.receipts) < head.number:
            raise BadSettings(
                f"the given ledger ends with receipt {len(self.receipts)}, before the backup's "
                f"last one, {head.number}: give a newer one"
            )
        if head.number and self.receipts[head.number - 1]["hash"] != head.hash:
            raise BadSettings(
                f"receipt {head.number} of the given ledger has another hash than the backup's: it "
                "is the ledger of another store"
            )
        return replace(self, receipts=self.receipts[head.number :])


def read(files: Iterable[Path], keys: Mapping[str, str]) -> Ledger:
    """Return the ledger in files of saved receipts, with keys by their ids.

    Raises:
        BadSettings: a file cannot be read, or the receipts are no unbroken ledger.
    """
    try:
        texts = [(str(path), path.read_text(encoding="utf-8")) for path in files]
        return _sound(Ledger(offline.read(texts), keys))
    except (OSError, UnicodeDecodeError, offline.BadLedger) as error:
        raise BadSettings(f"the receipts cannot be read: {error}") from None


def of_database(settings: Settings) -> Ledger:
    """Return the whole ledger of a database that still exists.

    Raises:
        BadSettings: the receipts are no unbroken ledger, or it is not the whole one any more: the
            database was moved away, or its restore was not finished.
    """
    with store_access.sessions_of(settings) as sessions, frozen_view(sessions) as session:
        folder_identity.check_open(session, settings)
        query = select(Receipt).order_by(Receipt.number)
        receipts = [exported(row) for row in session.scalars(query)]
        keys = {row.id: row.public_key for row in session.scalars(select(ReceiptKey))}
        labels = _labels_of(session, receipts)
    return _sound(Ledger(receipts, keys, labels))


def exported(row: Receipt) -> dict[str, Any]:
    """Return the receipt as the API shows it."""
    return ReceiptOut.of(row).model_dump(mode="json")


def _sound(found: Ledger) -> Ledger:
    faults = offline.check(found.receipts, {})
    if faults:
        raise BadSettings(f"the given ledger is not sound: {faults[0]}")
    return found


def add(session: Session, later: Ledger) -> list[Deletion]:
    """Append the receipts as they are; return the deletions of what the rows still have.

    Of subjects that came and went after the backup only the tombstones are added.

    Raises:
        BadSettings: a receipt is signed by a key that nobody gave.
    """
    if not later.receipts:
        return []
    for receipt in later.receipts:
        _add_key(session, receipt, later.keys)
        at = datetime.fromisoformat(receipt["created_at"])
        session.add(Receipt(**receipt | {"created_at": at}))
    session.flush()
    tree.grow(session)
    broken = ledger.broken_at(session)
    news = select(Receipt).where(Receipt.number >= later.receipts[0]["number"])
    unsigned = [
        row.number for row in session.scalars(news) if ledger.signature_ok(session, row) is False
    ]
    if broken is not None or unsigned:
        number = unsigned[0] if broken is None else broken
        raise BadSettings(f"receipt {number} of the given ledger is not as it was written")
    return [each for receipt in later.receipts for each in _repeatable(session, receipt)]


def _repeatable(session: Session, receipt: Mapping[str, Any]) -> Iterator[Deletion]:
    """Yield what the receipt deleted and the rows still have; bury what they have not."""
    read_ = body.read(receipt["body"])
    changed = CHANGES.get(read_.subject.kind)
    if changed is not None and session.get(changed, read_.subject.id) is not None:
        yield Deletion(read_.subject.kind, read_.subject.id, receipt["id"])
    yield from _of_space(session, read_.subject, receipt["id"])
    for subject in read_.subjects:
        table = TABLES.get(subject.kind)
        if table is None or session.get(table, subject.id) is None:
            if session.get(Tombstone, subject.id) is None:
                session.add(Tombstone(subject_id=subject.id, receipt_id=receipt["id"]))
                session.flush()
        else:
            is_merged = changed is not None and subject.kind == "image"
            yield Deletion(MERGED if is_merged else subject.kind, subject.id, receipt["id"])


def _of_space(session: Session, subject: Subject, receipt_id: str) -> Iterator[Deletion]:
    """Yield the deletion of a space, if the rows have it: with all in it, before the others."""
    if subject.kind == SPACE and session.get(Space, subject.id) is not None:
        yield Deletion(SPACE, subject.id, receipt_id)


def _add_key(session: Session, receipt: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    key_id = receipt.get("key_id")
    if key_id is None or session.get(ReceiptKey, key_id) is not None:
        return
    if key_id not in keys:
        raise BadSettings(
            f"receipt {receipt['number']} is signed by the key {key_id}, which the backup does not "
            "know: give it by --public-key, from GET /v1/receipts/key"
        )
    session.add(ReceiptKey(id=key_id, public_key=keys[key_id]))
    session.flush()


def _labels_of(session: Session, receipts: Iterable[Mapping[str, Any]]) -> dict[str, Labels]:
    """Return the present labels of the datasets in which labels were changed, by image id."""
    bodies = [body.read(receipt["body"]) for receipt in receipts]
    changed = {each.dataset_id or "" for each in bodies if each.subject.kind in OF_LABELS}
    renamed = sorted(changed)
    query = select(Image.id, Image.label)
    return {
        dataset_id: {row.id: row.label for row in session.execute(query.where(_in(dataset_id)))}
        for dataset_id in renamed
    }


def _in(dataset_id: str) -> ColumnElement[bool]:
    return Image.dataset_id == dataset_id
