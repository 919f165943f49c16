"""A temperature by a dataset that the request names: at every scope, of images nobody trained on.

Images that the selection's components were trained on are left out: of these a model is too sure.
The logits are those of passes of the dataset's images alone, so that their bits depend on nothing
else. The engine keeps the temperature in memory until anything is deleted or changed.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from app.database.sessions import transaction
from app.database.tables import Dataset
from app.datasets import datasets, privacy_ledger
from app.datasets.image_samples import Sampled, unseen
from app.errors import Invalid
from app.images.chunks import chunks
from app.inference.models import Model, Passed
from app.operations.calibration import Judge, file_size, read_images
from app.parts import Parts


class NamedCalibration(NamedTuple):
    """A temperature, and what it was fitted to."""

    dataset_id: str
    revision: int
    images: int
    temperature: float


def calibrated_by(parts: Parts, judge: Judge, model: Model, dataset_id: str) -> NamedCalibration:
    """Fit the temperature of the model's answers to images of the dataset.

    Raises:
        NotFound: `dataset_not_found`.
        Gone: `dataset_deleted`.
        Conflict: `privacy_required`.
        Invalid: `no_calibration_images`.
        NotReady: as the engine.
    """
    labels = parts.engine.compose(model)
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, dataset_id)
        privacy_ledger.require_private(dataset, "a calibration")
        most = parts.settings.calibration_images
        found = unseen(session, [part.id for part in judge.components], dataset, labels, most)
    _check_some(found, dataset, most)
    fitted = partial(NamedCalibration, dataset_id, dataset.revision, len(found))
    name = f"{dataset_id} {dataset.revision} {len(found)}"
    known, since = parts.engine.named_temperature(model, name)
    if known is not None:
        return fitted(known)
    parts.count_more_images(len(found))  # only for the request that finds no temperature
    logits, truth = _answers(parts, judge, model, found, labels)
    if not truth:
        _check_some([], dataset, most)
    return fitted(parts.engine.fit_temperature(model, name, logits, truth, since))


def with_temperature(passed: Passed, named: NamedCalibration) -> Passed:
    """Return what was passed with this temperature in its calibration."""
    assert passed.calibration is not None
    changed = passed.calibration._replace(
        temperature=named.temperature,
        no_temperature=None,
        dataset_id=named.dataset_id,
        dataset_images=named.images,
    )
    return passed._replace(calibration=changed)


def is_current(parts: Parts, made: NamedCalibration | None) -> bool:
    """Return whether the dataset is as it was; other deletions change no temperature by it.

    Raises:
        NotFound, Gone: as `calibrated_by`.
    """
    if made is None:
        return True
    with transaction(parts.reading) as session:
        return datasets.get(session, made.dataset_id).revision == made.revision


def _answers(
    parts: Parts, judge: Judge, model: Model, found: Sequence[Sampled], labels: Sequence[str]
) -> tuple[np.ndarray, list[int]]:
    """Return the logits of the images that can be read, and the columns of their labels."""
    logits: list[np.ndarray] = []
    truth: list[int] = []
    for some in chunks(found, file_size):
        read, pixels = read_images(parts, judge, some)
        if read:
            logits.append(parts.engine.run(model, pixels, company="alone").logits)
            truth += [labels.index(each.image.label) for each in read]
    return np.concatenate(logits) if logits else np.zeros((0, len(labels)), np.float32), truth


def _check_some(found: Sequence[Sampled], dataset: Dataset, most: int) -> None:
    if not most:
        raise Invalid(
            "no_calibration_images",
            "this service calibrates nothing: TANGENT_CALIBRATION_IMAGES is 0",
        )
    if not found:
        raise Invalid(
            "no_calibration_images",
            f"dataset {dataset.id} has no readable image with a label of the selection that its "
            "components were not trained on: name a dataset of such images",
        )
