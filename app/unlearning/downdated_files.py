"""Components as they would be without some images or under other labels: files made, no training.

files = restatements.of(engine, blobs, plan)       before the transaction that changes the rows
restatements.discard(reading, blobs, files)        if it came to nothing
"""

from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session, sessionmaker

import tangent
from app.errors import Problem
from app.images import BadImage
from app.inference import component_files
from app.inference.engine import TRAINED, Engine
from app.store import datasets
from app.store.blobs import BlobMissing, LocalBlobs
from app.store.db import transaction
from app.store.tables import Component, Space
from app.unlearning.change_plan import Plan
from app.unlearning.dataset_change import Restated, key_for
from tangent.errors import TangentError


def of(engine: Engine, blobs: LocalBlobs, plan: Plan) -> dict[str, Restated]:
    """The new files of the plan's components, by component id; none for one to be trained anew."""
    found: dict[str, Restated] = {}
    try:
        for row, space in plan.components:
            component = _restated(engine, blobs, plan, row, space)
            if component is not None:
                found[row.id] = _stored(blobs, row, component)
    except BaseException:
        _delete(blobs, found.values())
        raise
    return found


def discard(
    reading: sessionmaker[Session], blobs: LocalBlobs, files: Mapping[str, Restated]
) -> None:
    """Remove the files that no row came to name."""
    with transaction(reading) as session:
        rows = [session.get(Component, component_id) for component_id in files]
        kept = {row.blob_key for row in rows if row is not None}
    _delete(blobs, (each for each in files.values() if each.blob_key not in kept))


def _restated(
    engine: Engine, blobs: LocalBlobs, plan: Plan, row: Component, space: Space
) -> tangent.Component | None:
    """The component of the changed dataset; None where its file cannot be made from the old one.

    That is the rule for iterated trainings. A file or image that is damaged, or a space that opens
    differently, is no reason to keep the old component either: training tells what is wrong.
    """
    try:
        component = component_files.load(blobs, row.blob_key or "", str(row.sha256))
        if not _same_bits(engine, row):
            return None
        if plan.removed:
            files = [datasets.read(blobs, plan.dataset, each) for each in plan.removed]
            inputs = [engine.read(space, file) for file in files]
            labels = [each.label for each in plan.removed]
            component = engine.without(space, component, inputs, labels)
        if plan.renamed:
            opened = engine.space(space, precision=TRAINED)
            component = tangent.renamed(opened, component, plan.renamed)
        return component
    except (TangentError, Problem, BadImage, BlobMissing):
        return None


def _same_bits(engine: Engine, row: Component) -> bool:
    """Whether passes and factorisations here have the bits of those in the component's training."""
    return row.metrics.get("environment") == tangent.environment(engine.device)


def _stored(blobs: LocalBlobs, row: Component, component: tangent.Component) -> Restated:
    path, key = blobs.scratch_path(row.id), key_for(row.id)
    try:
        sha256 = component.save(path)
        size = path.stat().st_size
        blobs.put(path, key)
    finally:
        path.unlink(missing_ok=True)
    l2 = float(component.hyperparameters["l2"])
    return Restated(str(row.sha256), key, sha256, size, dict(component.labels), l2)


def _delete(blobs: LocalBlobs, files: Iterable[Restated]) -> None:
    for each in files:
        blobs.delete(each.blob_key)
