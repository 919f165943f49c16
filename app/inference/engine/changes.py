"""Changed components: a file's component without some images or under other names, and its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tangent
from app.inference.engine.values import inputs_of
from app.inference.models import Pixels, Written


def changed(
    space: tangent.Space,
    component: tangent.Component,
    pixels: Pixels,
    labels: Sequence[str],
    names: Mapping[str, str],
) -> tangent.Component:
    """Return the component as trained without these images and with these label names.

    Raises:
        NotDowndatable: it has to be trained.
    """
    if pixels:
        component = tangent.without(space, component, inputs_of(space, pixels), labels)
    return tangent.renamed(space, component, names) if names else component


def written(component: tangent.Component, path: Path) -> Written:
    """Write the component's file; return what its row says."""
    sha256 = component.save(path)
    return Written(
        sha256=sha256,
        size=path.stat().st_size,
        fingerprint=component.fingerprint,
        labels=dict(component.labels),
        hyperparameters=dict(component.hyperparameters),
        seed=component.seed,
        derived=None if component.derived is None else component.derived.as_dict(),
    )
