"""Calibration of a selection: by some of the images that its components were trained on.

    judge = judge_of(key, space, members, rule)
    …, judged_as=judge.model                          of the engine's passes
    calibrate(parts, judge)                           if the engine has no calibration of it

An engine keeps calibrations in memory, and forgets them with a deletion; nothing else keeps them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Space
from app.datasets import datasets
from app.datasets.image_samples import Sampled, sampled
from app.errors import NotReady
from app.files.blobs import BlobMissing
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.chunks import chunks
from app.images.image_files import BadImage
from app.inference.models import Model, SpaceKey
from app.inference.opened_spaces import Members, parts_of
from app.inference.opened_spaces import Parts as ModelParts
from app.inference.selection import once_for_each
from app.parts import Parts
from app.store import damage
from app.store.compositions import Selection
from app.store.members import require_unchanged

ATTEMPTS = 3  # at a calibration that a deletion overtakes


class Judge(NamedTuple):
    """The components by whose training images answers are judged."""

    space: Space
    components: list[Component]
    model: Model  # of these, with every weight as a number, unless the rule sets it

    def require_unchanged(self, session: Session) -> None:
        """Check that the components are still those that were read.

        Raises:
            Gone, Conflict: as `require_unchanged`.
        """
        used = [{"id": row.id, "sha256": row.sha256} for row in self.components]
        require_unchanged(session, used, None)


def judge_of(key: SpaceKey, space: Space, members: Members, rule: str) -> Judge:
    """Return the judge of answers by these components; the space has opened by the key."""
    model = Model(key, parts_of(_weighed(members, rule)), rule)
    return Judge(space, [row for row, _ in members], model)


def judge_of_selection(key: SpaceKey, selection: Selection) -> Judge:
    """Return the judge of a selection's answers: itself, also where its refinement answers."""
    components, parts = _judging(selection)
    return Judge(selection.space, components, Model(key, parts, selection.rule))


@once_for_each
def _judging(selection: Selection) -> tuple[list[Component], ModelParts]:
    weighed = _weighed(selection.members, selection.rule)
    return [row for row, _ in weighed], parts_of(weighed)


def _weighed(members: Members, rule: str) -> Members:
    return [
        (row, None if rule == "average" else 1.0 if weight is None else weight)
        for row, weight in members
    ]


def calibrate(parts: Parts, judge: Judge) -> None:
    """Have the engine calibrate the judge's model; all who need it at a time share one call.

    Raises:
        Gone, Conflict: a component has changed.
        NotReady: as the engine.
    """
    parts.calibrating.run(judge.model, lambda: _calibrate(parts, judge))


def overtaken() -> NotReady:
    """Return the problem of a calibration that was lost in every attempt."""
    return NotReady(
        "selection_changing",
        "the calibration of the selected components was lost in every attempt, to changes of them "
        "or for want of memory: try again; if it lasts, raise TANGENT_COMPOSITION_BYTES",
        retry_after=1,
    )


class _Moved(Exception):
    """A dataset's images lie elsewhere now, as some were added or removed."""


def _calibrate(parts: Parts, judge: Judge) -> None:
    if parts.engine.calibrate_again(judge.model):
        return
    for _ in range(ATTEMPTS):
        try:
            readouts, copies = _measured(parts, judge)
        except _Moved:
            continue
        parts.engine.calibrate(judge.model, readouts, copies)
        return
    raise overtaken()


def _measured(parts: Parts, judge: Judge) -> tuple[np.ndarray, list[list[tuple[int, str]]]]:
    """Return the readouts of a sample of the training images, and the copies of each.

    Raises:
        Gone, Conflict: as `calibrate`.
        NotReady: as the engine.
        _Moved: the images have to be read anew.
    """
    places = [at for at, (_, weight) in enumerate(judge.model.parts) if weight != 0]
    with transaction(parts.reading) as session:
        judge.require_unchanged(session)
        counted = [judge.components[at] for at in places]
        images = sampled(session, counted, parts.settings.calibration_images)
    readouts: list[np.ndarray] = []
    copies: list[list[tuple[int, str]]] = []
    for some in chunks(images, file_size):
        read, pixels = read_images(parts, judge, some)
        if read:
            readouts.append(parts.engine.readouts(judge.model.space, pixels))
            copies += [[(places[at], label) for at, label in each.copies] for each in read]
    with transaction(parts.reading) as session:
        judge.require_unchanged(session)
    psi = np.concatenate(readouts) if readouts else np.zeros((0, 1), np.float32)
    return psi, copies


def file_size(each: Sampled) -> int:
    """Return the bytes of the image's file."""
    return each.image.pack_length


def read_images(
    parts: Parts, judge: Judge, images: Sequence[Sampled]
) -> tuple[list[Sampled], list[np.ndarray]]:
    """Return those of the images that can be read, with their pixels: no answer needs them all."""
    files = [(each, _file(parts, judge, each)) for each in images]
    there = [(each, file) for each, file in files if file is not None]
    budget = Budget(times=ACCEPTED_TIMES, is_patient=True)
    pixels = parts.spaces.pixels(judge.space, [file for _, file in there], budget)
    good = [
        (each, found)
        for (each, _), found in zip(there, pixels, strict=True)
        if not isinstance(found, BadImage)
    ]
    return [each for each, _ in good], [found for _, found in good]


def _file(parts: Parts, judge: Judge, each: Sampled) -> bytes | None:
    try:
        return datasets.read(parts.blobs, each.dataset, each.image)
    except BlobMissing:
        with transaction(parts.reading) as session:
            judge.require_unchanged(session)  # deleted by another process just now?
            now = session.get(Dataset, each.dataset.id, populate_existing=True)
            if now is None or now.pack_key != each.dataset.pack_key:
                raise _Moved from None
        damage.note_images(parts.sessions, each.dataset, [each.image.id])
        return None
