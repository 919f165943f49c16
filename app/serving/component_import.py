"""Imports: a component file of another service, checked against its space and saved."""

import shutil
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import BinaryIO

import tangent
from app.errors import Invalid
from app.parts import Parts
from app.schemas.components import ComponentOut
from app.settings import Settings
from app.store import components, lineage, spaces
from app.store.db import Session, on_rollback, transaction
from app.store.idempotency import Once
from app.store.tables import Component, Space, new_id
from tangent import merging
from tangent.errors import BadComponent, FingerprintMismatch
from tangent.labels import fault_as_given, name_from

MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Import:
    """An accepted component, and its file, which no row refers to yet."""

    component: tangent.Component
    space: Space
    blob_key: str
    sha256: str
    bytes: int


def import_component(
    parts: Parts, file: BinaryIO, filename: str | None, name: str | None, once: Once
) -> ComponentOut:
    """Import the file, once for an idempotency key.

    Raises:
        BadComponent, BadHyperparameter, FingerprintMismatch: the file cannot serve here.
        Invalid: `too_many_labels`.
        Invalid, Gone: as `Once.run`.
    """
    name, component_id = name or _name_of(filename), new_id("cmp")
    accepted = _accept(parts, file, key=f"components/{component_id}/imported.safetensors")
    with transaction(parts.sessions) as session:
        on_rollback(session, lambda: parts.blobs.delete(accepted.blob_key))
        row_id = once.run(
            session,
            {"name": name, "sha256": accepted.sha256},
            lambda: _add(session, accepted, component_id=component_id, name=name).id,
        )
        shown = ComponentOut.of(components.get(session, row_id))
    if row_id != component_id:  # imported by an earlier request
        parts.blobs.delete(accepted.blob_key)
    return shown


def _name_of(filename: str | None) -> str:
    """Return an imported component's name from its file's: `north.safetensors` gives `north`."""
    stem = PurePosixPath(filename or "").stem
    return name_from(stem)[:200] or "imported"


def _accept(parts: Parts, file: BinaryIO, *, key: str) -> Import:
    """Check the uploaded component, and put it under `key` byte for byte as this service saves it.

    The component's fingerprint finds its space.
    """
    with transaction(parts.reading) as session:
        rows = spaces.list_(session, after=None, limit=1000)
    received, rewritten = parts.blobs.scratch_path("import"), parts.blobs.scratch_path("import")
    try:
        with received.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        component = tangent.Component.load(received)
        row = _space_of(component, rows)
        component = _checked(component, parts.engine.space(row), parts.settings)
        sha256 = component.save(rewritten)
        size = rewritten.stat().st_size
        parts.blobs.put(rewritten, key)
    finally:
        for path in (received, rewritten):
            path.unlink(missing_ok=True)
    return Import(component, row, key, sha256, size)


def _add(session: Session, accepted: Import, *, component_id: str, name: str) -> Component:
    """Add the row of an accepted component."""
    derived = accepted.component.derived
    return lineage.add_import(
        session,
        component_id=component_id,
        space=accepted.space,
        name=name,
        hyperparameters=accepted.component.hyperparameters,
        seed=accepted.component.seed,
        labels=accepted.component.labels,
        blob_key=accepted.blob_key,
        sha256=accepted.sha256,
        bytes=accepted.bytes,
        record=derived.as_dict() if derived is not None else None,
    )


def _checked(
    component: tangent.Component, space: tangent.Space, settings: Settings
) -> tangent.Component:
    """Return the component with its settings resolved after checking that it fits this space."""
    _check_numbers(component, settings)
    space.check(component)
    _check_grid(space, component)
    if (derived := component.derived) is not None:
        parameters = merging.merge_method(derived.operator).resolve(derived.parameters)
        settled = replace(derived, parameters=parameters)
        component = replace(component, hyperparameters={}, derived=settled)
    else:
        given = tangent.Hyperparameters.resolve(space.scope, component.hyperparameters)
        component = replace(component, hyperparameters=given.as_dict())
    _check_composition(space, component)
    return component


def _check_grid(space: tangent.Space, component: tangent.Component) -> None:
    """Refuse sums off the grid: added and subtracted, they would leave a trace."""
    statistics, views = component.statistics, component.hyperparameters.get("views", 1)
    if statistics is None or views != 1:
        return
    counts = list(statistics.counts.values())
    if not space.holds(statistics.gram, statistics.sums, counts):
        raise BadComponent(
            "the component's statistics are no sums of this space's features, which lie on a grid: "
            "train it by this version, in a space with this fingerprint"
        )


def _space_of(component: tangent.Component, rows: list[Space]) -> Space:
    for row in rows:
        if row.fingerprint == component.fingerprint:
            return row
    known = ", ".join(f"{row.name} {row.fingerprint[:12]}…" for row in rows)
    raise FingerprintMismatch(
        f"the component was trained in a space with fingerprint {component.fingerprint[:12]}… "
        f"({component.scope}); there are: {known}; POST /v1/spaces with its backbone and scope"
    )


def _check_numbers(component: tangent.Component, settings: Settings) -> None:
    if len(component.labels) > settings.max_labels:
        raise Invalid(
            "too_many_labels",
            f"the component has {len(component.labels)} labels, the most is {settings.max_labels}",
        )
    if not 0 <= component.seed <= MAX_SEED:
        raise BadComponent(f"the component's seed {component.seed} is not from 0 to {MAX_SEED}")
    for label in component.labels:
        if why := fault_as_given(label):
            raise BadComponent(f"the component's label {label[:80]!r} {why}")


def _check_composition(space: tangent.Space, component: tangent.Component) -> None:
    """Refuse a component that cannot be composed alone: it would spoil every composition."""
    rule = "joint" if space.joint_is_exact and component.derived is None else "average"
    delta = tangent.compose(space, [(component, None)], rule, shas=[""])
    if not all(tensor.isfinite().all() for tensor in delta.tensors().values()):
        raise BadComponent("the component's numbers overflow when they are composed")
