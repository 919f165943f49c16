"""Changes: all that one deletion removes, replaces and trains again, with its rows locked.

    deletion.apply(session, change.of_component(session, component_id))
    deletion.apply(session, change.of_plan(session, blobs, jobs, plan, files))

Every function here takes the write lock first, so no more rows can come to what it returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, defer

from app.access import callers
from app.database.ids import new_id
from app.database.sessions import hold_write_lock
from app.database.tables import Component, Dataset, Image, Space
from app.datasets import datasets
from app.errors import Conflict
from app.files.blobs import LocalBlobs
from app.files.intents import Intent
from app.receipts.body import Subject
from app.store import components, lineage
from app.store.components import Queue
from app.unlearning import freed_splits
from app.unlearning.change_plan import Correction, NewImages, Plan
from app.unlearning.freed_splits import Freed

UNUSED = (Dataset.rejected, Dataset.created_at)  # of a dataset that stays; the first is a long list


class Overtaken(Exception):
    """The dataset or a component has changed since the plan was read: plan again."""


@dataclass(frozen=True)
class DowndatedFile:
    """A component's new file, in its place but named by no row yet."""

    blob: Intent
    sha256: str
    bytes: int
    labels: dict[str, int]
    l2: float


@dataclass(frozen=True)
class DatasetEdit:
    """Images and labels to change in a dataset that stays, and its components.

    A ready component takes its down-dated file if there is one. All others that may have seen the
    old data are trained again.
    """

    dataset: Dataset
    images: list[Image]
    renamed: dict[str, str]  # old label -> new one
    components: list[Component]  # trained from the dataset, not derived, with what changes
    unaffected: list[Component]  # trained from the dataset without it
    restarted: list[Component]  # being made of images that stay, but of a pack that goes
    files: Mapping[str, DowndatedFile]  # by component id
    scratch: list[Path]  # of trainings that are lost, listed before a new one can make its own
    jobs: Queue  # takes the trainings that begin again
    corrected: Correction | None = None
    added: NewImages | None = None
    pack: Intent | None = None  # with the new images, in its place but named by no row yet
    freed: Sequence[Freed] = ()  # images that stay, with other splits

    @property
    def outcome(self) -> str:
        """Return what becomes of a component with a new file, in the terms of receipts."""
        if self.added is not None or freed_splits.for_training(self.freed):
            return "updated"
        return "relabelled" if self.renamed or self.corrected else "down_dated"


@dataclass(frozen=True)
class Change:
    """The rows of one deletion, all of them locked."""

    subject: Subject
    components: list[Component]  # to remove: the subject, or what was trained or derived from it
    dataset: Dataset | None = None  # to remove
    edit: DatasetEdit | None = None
    space: Space | None = None  # to remove, with all that is in it
    receipt_id: str = field(default_factory=partial(new_id, "rcpt"))

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """All with an id that is gone afterwards; the name of a space may come back."""
        gone = [Subject(kind="component", id=row.id) for row in self.components]
        if self.dataset is not None:
            gone.append(Subject(kind="dataset", id=self.dataset.id))
        if self.edit is not None:
            gone[:0] = [_image(image) for image in self.edit.images]
        return tuple(gone)

    @cached_property
    def stored(self) -> list[Component]:
        """The components whose files go, by the rows as they were locked."""
        kept = self.edit.components if self.edit else []
        return [row for row in [*kept, *self.components] if row.sha256]

    @property
    def spaces(self) -> list[str]:
        """The spaces that the receipt describes."""
        if self.space is not None:
            return [self.space.name]
        rows = self.components if self.edit is None else [*self.stored, *self.edit.unaffected]
        return sorted({row.space for row in rows})


def of_component(session: Session, component_id: str) -> Change:
    """Lock a component of any status and all that was derived from it, to remove them.

    Raises:
        NotFound, Gone: as `components.get`; of two deletions at once, one gets the Gone.
    """
    hold_write_lock(session)
    rows = locked(session, Component.id == component_id)
    if not rows or not callers.sees(session, rows[0].space):
        components.get(session, component_id)
    return Change(Subject(kind="component", id=component_id), _with_derived(session, rows))


def of_dataset(session: Session, dataset_id: str, *, cascade: bool) -> Change:
    """Lock a dataset and, with `cascade`, what was trained or derived from it, to remove them.

    Raises:
        Conflict: `dataset_in_use` if there are any and `cascade` is false; names them.
        NotFound, Gone: as `datasets.get`.
    """
    hold_write_lock(session)
    dataset = session.scalar(select(Dataset).where(Dataset.id == dataset_id).with_for_update())
    if dataset is None or not callers.sees(session, dataset.space):
        dataset = datasets.get(session, dataset_id)
    rows = _with_derived(session, locked(session, Component.dataset_id == dataset_id))
    if rows and not cascade:
        ids = [row.id for row in rows]
        raise Conflict(
            "dataset_in_use",
            f"dataset {dataset_id} has trained {', '.join(ids)}, some by way of others: delete "
            "these first, or repeat with ?cascade=true to delete them as well",
            components=ids,
        )
    return Change(Subject(kind="dataset", id=dataset_id), rows, dataset)


def of_plan(
    session: Session,
    blobs: LocalBlobs,
    jobs: Queue,
    plan: Plan,
    files: Mapping[str, DowndatedFile],
    pack: Intent | None = None,
) -> Change:
    """Lock the plan's dataset and its components; remove all that was derived from them.

    Raises:
        Overtaken: if anything has changed since the plan was read.
    """
    hold_write_lock(session)
    query = select(Dataset).where(Dataset.id == plan.dataset.id).with_for_update()
    if plan.added is None:
        query = query.options(*(defer(unused, raiseload=True) for unused in UNUSED))
    dataset = session.scalar(query.execution_options(populate_existing=True))
    if dataset is None or dataset.revision != plan.dataset.revision:
        raise Overtaken
    if dataset.privacy_budget is not None and plan.dataset.privacy_budget is None:
        raise Overtaken  # the next plan may be refused, see `change_plan.refuse_unnoised`
    found = locked(session, Component.dataset_id == dataset.id)
    every = _with_derived(session, found)
    rows = every if plan.is_seen else []
    unaffected = [] if plan.is_seen else [row for row in found if row.status == "ready"]
    moved = plan.added is not None and not plan.is_seen
    restarted = [row for row in every if moved and row.status == "training"]
    kept = [row for row in rows if row.derived is None]
    _check_as_planned(plan, kept)
    scratch = [path for row in (*kept, *restarted) for path in blobs.scratch_of(row.id)]
    return Change(
        subject=_subject(plan),
        components=[row for row in rows if row.derived is not None],
        edit=DatasetEdit(
            *(dataset, plan.removed, plan.renamed, kept, unaffected, restarted, files),
            *(scratch, jobs, plan.corrected, plan.added, pack, plan.freed),
        ),
    )


def _check_as_planned(plan: Plan, kept: list[Component]) -> None:
    if any(row.privacy and row.status in datasets.HOLDING for row in kept):
        raise Overtaken  # the next plan is refused, see `change_plan.refuse_private`
    planned = {row.id: row.sha256 for row, _ in plan.components}
    if {row.id: row.sha256 for row in kept if row.status == "ready"} != planned:
        raise Overtaken


def locked(session: Session, condition: ColumnElement[bool]) -> list[Component]:
    """Return the components by id; nobody else changes them until the transaction ends."""
    query = select(Component).where(condition).order_by(Component.id).with_for_update()
    query = query.options(*components.WITHOUT_TIMES)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _with_derived(session: Session, rows: list[Component]) -> list[Component]:
    """Lock all that was derived from the components; return both by id."""
    derived = lineage.descendants(session, [row.id for row in rows])
    if derived:
        rows = rows + locked(session, Component.id.in_(derived))
    return sorted(rows, key=lambda row: row.id)


def _subject(plan: Plan) -> Subject:
    if plan.renamed:
        return Subject(kind="labels", id=plan.dataset.id)
    if plan.corrected is not None:
        return Subject(kind="label", id=plan.corrected.image.id, dataset_id=plan.dataset.id)
    if plan.added is not None:
        return Subject(kind="images", id=plan.dataset.id)
    if len(plan.removed) > 1:
        return Subject(kind="several_images", id=plan.dataset.id)
    return _image(plan.removed[0])


def _image(image: Image) -> Subject:
    return Subject(kind="image", id=image.id, dataset_id=image.dataset_id)
