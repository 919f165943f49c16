"""Imports: a component file of another service, checked against its space and saved."""

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from app.access import quotas
from app.database.ids import next_id
from app.database.sessions import Session, hold_write_lock, transaction
from app.database.tables import Component, Space
from app.errors import Conflict, Invalid
from app.files.blobs import LocalBlobs
from app.files.intents import Intent, store
from app.images import file_kinds
from app.inference.models import Examined, Written
from app.parts import Parts
from app.settings import Settings
from app.store import component_copies, components, lineage, spaces
from app.store.idempotency import Once
from tangent.errors import BadComponent, FingerprintMismatch
from tangent_composer.labels import name_from
from tangent_composer.schemas.components import FEW_IMAGES, ImportedComponent, SmallestLabel

SAME_FILE = (
    "of this space has the same file, statistics aside: answers by both count its images twice, so "
    "delete one, or name the components to answer"
)
NO_STATISTICS = (
    "the file has no statistics: rule joint refuses every selection with this component, also that "
    "of all components of the space; average and weighted take it"
)


class Received(NamedTuple):
    """An uploaded file and the fields of its form."""

    file: BinaryIO
    filename: str | None
    name: str | None
    allow_duplicate: bool = False
    metrics: Mapping[str, Any] = MappingProxyType({})  # as its trainer has measured them


def import_component(parts: Parts, received: Received, once: Once) -> ImportedComponent:
    """Import the file, once for an idempotency key.

    Raises:
        Conflict: `component_duplicate`, with the ids as `duplicate_of`.
        BadComponent, BadHyperparameter, FingerprintMismatch: the file cannot serve here.
        Invalid: `too_many_labels`.
        Forbidden: `quota_exceeded`.
        Invalid, Gone: as `Once.run`.
    """
    written, space, stored = _accept(parts, received.file)
    row = _row(received, written, space, stored.key)

    def add(session: Session) -> str:
        hold_write_lock(session)
        spaces.hold(session, space)
        if not received.allow_duplicate:
            _check_new(session, parts.blobs, row)
        quotas.check(session, max_bytes=row.bytes or 0, max_components=1)
        added = lineage.add_import(session, row, written.derived)
        stored.settle(session)
        return added.id

    with stored, transaction(parts.sessions) as session:
        request: dict[str, Any] = {"name": row.name, "sha256": written.sha256}
        request |= {"metrics": row.metrics} if row.metrics else {}
        row_id = once.run(session, request, lambda: add(session))
        return _shown(session, parts.blobs, row_id)


def _row(received: Received, written: Written, space: Space, key: str) -> Component:
    return Component(
        id=key.split("/")[1],
        name=received.name or _name_of(received.filename),
        space=space.name,
        hyperparameters=written.hyperparameters,
        seed=written.seed,
        labels=written.labels,
        fingerprint=written.fingerprint,
        blob_key=key,
        sha256=written.sha256,
        bytes=written.size,
        statistics=written.has_statistics,
        privacy=written.privacy,
        metrics=dict(received.metrics),
    )


def _shown(session: Session, blobs: LocalBlobs, component_id: str) -> ImportedComponent:
    added = components.get(session, component_id)
    same = component_copies.of(session, blobs, added)
    warnings = [f"{', '.join(same)} {SAME_FILE}"] if same else []
    fewest = SmallestLabel.of(added)
    if fewest is not None and not added.statistics:
        warnings.append(NO_STATISTICS)
    elif fewest is not None and fewest.images < FEW_IMAGES and added.privacy is None:
        warnings.append(fewest.warning)
    return ImportedComponent.of(added, warnings, same)


def _check_new(session: Session, blobs: LocalBlobs, row: Component) -> None:
    if same := component_copies.of(session, blobs, row):
        raise Conflict(
            "component_duplicate",
            f"{', '.join(same)} of space {row.space!r} has the same file, statistics aside, so "
            "that answers by both would count its images twice: use that component, or send "
            "allow_duplicate=true",
            duplicate_of=same,
        )


def _name_of(filename: str | None) -> str:
    """Return an imported component's name from its file's: `north.safetensors` gives `north`."""
    stem = PurePosixPath(filename or "").stem
    return name_from(stem)[:200] or "imported"


def _accept(parts: Parts, file: BinaryIO) -> tuple[Written, Space, Intent]:
    """Check the uploaded component, and store it byte for byte as this service saves it.

    Return it with the space that its fingerprint finds, and the stored file.
    """
    with transaction(parts.reading) as session:
        rows = spaces.list_(session, after=None, limit=1000)
    received, rewritten = parts.blobs.scratch_path("import"), parts.blobs.scratch_path("import")
    try:
        with received.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        about = _examined(parts, received)
        row = _space_of(about, rows)
        _check_number_of_labels(about, parts.settings)
        written = parts.engine.accept(parts.spaces.key(row), received, rewritten)
        with transaction(parts.reading) as session:
            component_id = next_id(session, "cmp", Component.id)
        key = f"components/{component_id}/imported.safetensors"
        stored = store(parts.sessions, parts.blobs, rewritten, key)
    finally:
        for path in (received, rewritten):
            path.unlink(missing_ok=True)
    return written, row, stored


def _examined(parts: Parts, path: Path) -> Examined:
    try:
        return parts.engine.examine(path)
    except BadComponent as error:
        with path.open("rb") as file:
            head = file.read(file_kinds.HEAD)
        kind = file_kinds.kind_of(head)
        if kind is None or file_kinds.is_safetensors(head):
            raise
        raise Invalid(
            error.code, f"the file is {kind}: send a safetensors file, as GET …/delta gives it"
        ) from error


def _space_of(component: Examined, rows: list[Space]) -> Space:
    for row in rows:
        if row.fingerprint == component.fingerprint:
            return row
    known = ", ".join(f"{row.name} {row.fingerprint[:12]}…" for row in rows)
    raise FingerprintMismatch(
        f"the component was trained in a space with fingerprint {component.fingerprint[:12]}… "
        f"({component.scope}); there are: {known}; POST /v1/spaces with its backbone and scope"
    )


def _check_number_of_labels(component: Examined, settings: Settings) -> None:
    if component.labels > settings.max_labels:
        raise Invalid(
            "too_many_labels",
            f"the component has {component.labels} labels, the most is {settings.max_labels}",
        )
