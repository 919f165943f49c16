"""Component files: found, checked against their rows, and mapped."""

import hashlib
from pathlib import Path

import tangent
from app.errors import NotReady
from app.store.blobs import BlobMissing, LocalBlobs
from tangent.composition.incremental import Source
from tangent.errors import BadComponent


def verified(path: Path, sha256: str | None) -> Path:
    """Return the path of the component's file after checking it against the row.

    Raises:
        NotReady: `component_damaged`.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise NotReady(
            "component_damaged",
            f"the file of a selected component has sha256 {found}, its row says {sha256}: "
            "restore the file, or delete the component and train it again",
        )
    return path


def load(blobs: LocalBlobs, source: Source) -> tangent.Component:
    """Return the component, mapped from its file; the mapping ends with the object.

    Its directions were checked to be finite on arrival, and the hash shows that they still are.

    Raises:
        BlobMissing: the file is not there.
        NotReady, BadComponent: the file is not the one that its row describes.
    """
    path = blobs.path(source.key)
    try:
        return tangent.Component.load(verified(path, source.sha256), directions_checked=False)
    except (FileNotFoundError, BadComponent) as error:
        if path.exists():
            raise
        raise BlobMissing(f"no blob at {path.name} any more") from error
