"""Label reports: each image of a dataset judged by the rest of a selection, without the image.

It is computed while the request waits, and nothing of it is kept: whoever corrects a label asks
again, and a deletion leaves nothing to invalidate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.chunks import chunks
from app.database.row_checksums import damaged_row
from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Image
from app.datasets import datasets, privacy_ledger
from app.datasets.training_images import training_only
from app.errors import Invalid
from app.files.component_files import DamagedFile
from app.inference.deletion_gate import Ticket
from app.inference.models import Model
from app.inference.opened_spaces import source_of
from app.inference.selection import (
    contents,
    read_consistently,
    selection_fields,
    unavailable_components,
)
from app.operations.dataset_pass import Source, dataset_pass
from app.parts import Parts
from app.store.compositions import Selection
from tangent.errors import NotLeftOut
from tangent.vocabulary import LINEAR
from tangent_composer.schemas.label_reports import DisputedImage, LabelReportOut
from tangent_composer.schemas.predictions import SelectionQuery

JUDGED_AT_ONCE = 2048  # images that share the solving of one problem


class Judged(NamedTuple):
    """An image, and what the rest of the selection answers; scores in shares of the target."""

    image: Image
    preferred: str
    residual: float
    score: float
    preferred_score: float
    left_out_of: int


class Wanted(NamedTuple):
    """The part of a report that a request asks for."""

    label: str | None  # the images' own; None: all
    everything: bool  # also the images whose label is not disputed
    limit: int


@dataclass
class Tally:
    """The numbers of a report so far."""

    images: int = 0
    disputed: int = 0
    unknown: int = 0
    top: list[Judged] = field(default_factory=list)

    def add(self, judged: Sequence[Judged], wanted: Wanted) -> None:
        """Count images, and keep those that are disputed most."""
        against = [each for each in judged if each.preferred != each.image.label]
        self.images += len(judged)
        self.disputed += len(against)
        shown = judged if wanted.everything else against
        self.top = nlargest(wanted.limit, [*self.top, *shown], key=lambda each: each.residual)


def report_labels(
    parts: Parts, ticket: Ticket, dataset_id: str, query: SelectionQuery, wanted: Wanted
) -> LabelReportOut:
    """Return the dataset's images whose label the rest of the selection disputes.

    Raises:
        Invalid: `report_too_large`, `component_derived`, `image_unreadable`.
        Conflict: `private_component`, `privacy_required`.
        NotLeftOut: the scope or a component's settings do not allow to leave an image out.
        NotFound, Gone, Conflict, NotReady: as `read_consistently` and `dataset_pass`.
    """
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, dataset_id)
        privacy_ledger.require_private(dataset, "a label report")
    if query.space is None and query.composition is None and query.components is None:
        query = query.model_copy(update={"space": dataset.space})
    _check_size(parts, dataset, wanted.label)
    ticket.enter()  # only reading the selection keeps deletions waiting, not the long pass
    selection, model = _read(parts, query)
    ticket.leave()
    source = Source.of(selection, dataset)
    tally = Tally()
    for judged, unknown in _judged(parts, source, selection, model, wanted.label):
        tally.unknown += unknown
        tally.add(judged, wanted)
    ticket.read_as_of_now()
    source.require(parts)
    ticket.hand_over([dataset.id, dataset.pack_key, *contents(selection)])
    return _shown(dataset, selection, tally)


def _check_size(parts: Parts, dataset: Dataset, label: str | None) -> None:
    names = set(dataset.labels) if label is None else datasets.spellings(label)
    number = sum(count for name, count in dataset.labels.items() if name in names)
    most = parts.settings.max_report_images
    if number > most:
        raise Invalid(
            "report_too_large",
            f"{number} images are more than the {most} of one report: ask for one label at a "
            "time, as ?label=…, or have the operator raise TANGENT_MAX_REPORT_IMAGES",
        )
    parts.count_images(number)


def _read(parts: Parts, query: SelectionQuery) -> tuple[Selection, Model]:
    def opened(selection: Selection) -> tuple[Selection, Model]:
        for part, _ in selection.members:
            if part.privacy:
                raise privacy_ledger.refusal(
                    part.id, "asked about single images", "select components that are not"
                )
        derived = [part.id for part, _ in selection.members if part.derived is not None]
        if derived:
            raise Invalid(
                "component_derived",
                f"{', '.join(derived[:20])} were made from other components, and no image can be "
                "left out of them: select the components that were trained on images",
                components=derived,
            )
        if selection.rule == "discriminant":
            raise NotLeftOut(
                "rule discriminant fits no target, so that an image has no residual: repeat with "
                "rule=joint, which sums the same images"
            )
        if selection.space.scope not in LINEAR:
            raise NotLeftOut(
                f"an image cannot be left out exactly at scope {selection.space.scope}, only at "
                "head and head2toe: train a component of the dataset in a space of such a scope"
            )
        key = parts.spaces.key(selection.space)
        members = tuple((source_of(part), weight) for part, weight in selection.members)
        return selection, Model(key, members, selection.rule)

    return read_consistently(
        parts.reading,
        parts.engine,
        query,
        opened,
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
    )


def _judged(
    parts: Parts, source: Source, selection: Selection, model: Model, label: str | None
) -> Iterator[tuple[list[Judged], int]]:
    """Yield judged images, and how many have a label that the selection does not know."""
    labels = None if label is None else datasets.spellings(label)
    rows: list[Image] = []
    found: list[np.ndarray] = []

    def readouts(pixels: list[Any]) -> np.ndarray:
        return parts.engine.readouts(model.space, pixels)

    for some, psi in dataset_pass(parts, source, readouts, labels=labels):
        rows, found = [*rows, *some], [*found, psi]
        if len(rows) >= JUDGED_AT_ONCE:
            yield _scored(parts, source, selection, model, (rows, np.concatenate(found)))
            rows, found = [], []
    if rows:
        yield _scored(parts, source, selection, model, (rows, np.concatenate(found)))


def _scored(
    parts: Parts,
    source: Source,
    selection: Selection,
    model: Model,
    images: tuple[list[Image], np.ndarray],
) -> tuple[list[Judged], int]:
    """Judge images by their features, and count those whose label nobody knows."""
    (rows, psi), members = images, [part for part, _ in selection.members]
    with transaction(parts.reading) as session:
        copies = copies_of(session, members, [row.sha256 for row in rows])
    try:
        answer = parts.engine.scores_without(model, psi, [copies[row.sha256] for row in rows])
    except DamagedFile:
        source.require(parts)  # deleted just now?
        raise
    column = {name: at for at, name in enumerate(answer.labels)}
    target = float(np.mean([float(part.hyperparameters.get("beta", 1.0)) for part in members]))
    known = [at for at, row in enumerate(rows) if row.label in column]
    scores = answer.logits / target
    best = scores.argmax(axis=1)
    judged = []
    for at in known:
        row, own = rows[at], float(scores[at, column[rows[at].label]])
        top = int(best[at])
        left_out_of = len({part for part, _ in copies[row.sha256]})
        judged.append(
            Judged(row, answer.labels[top], 1 - own, own, float(scores[at, top]), left_out_of)
        )
    return judged, len(rows) - len(known)


def copies_of(
    session: Session, components: Sequence[Component], hashes: Sequence[str]
) -> dict[str, list[tuple[int, str]]]:
    """Return by the hash of an image's bytes the components trained on it, and the labels there.

    Datasets that the session's caller may not see are passed over: whether they hold an image is
    not for the caller to know.

    Raises:
        DamagedRow: of an image.
    """
    trained = [(at, row.dataset_id) for at, row in enumerate(components) if row.dataset_id]
    places: dict[str, list[int]] = {}
    for at, dataset_id in trained:
        places.setdefault(str(dataset_id), []).append(at)
    found: dict[str, list[tuple[int, str]]] = {sha256: [] for sha256 in hashes}
    for some in chunks(sorted(found)):
        columns = Image.intact, Image.id, Image.sha256, Image.dataset_id, Image.label
        seen = select(Dataset.id).where(
            Dataset.id.in_(places), *callers.seen(session, Dataset.space)
        )
        mine = Image.sha256.in_(some), training_only(), Image.dataset_id.in_(seen)
        query = select(*columns).where(*mine).order_by(Image.id)
        for is_intact, id_, sha256, dataset_id, label in session.execute(query):
            if not is_intact:
                raise damaged_row(f"image {id_}")
            found[sha256] += [(at, label) for at in places[dataset_id]]
    return found


def _shown(dataset: Dataset, selection: Selection, tally: Tally) -> LabelReportOut:
    imported = [part.id for part, _ in selection.members if part.dataset_id is None]
    right = tally.images - tally.disputed
    return LabelReportOut(
        dataset_id=dataset.id,
        **selection_fields(selection),
        unavailable_components=unavailable_components(selection),
        cannot_be_looked_into=imported,
        num_images=tally.images,
        num_disputed=tally.disputed,
        num_unknown=tally.unknown,
        accuracy=right / tally.images if tally.images else None,
        images=[DisputedImage.of(each) for each in tally.top],
    )
