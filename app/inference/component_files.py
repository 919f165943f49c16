"""Component files as rows tell of them: found, checked and mapped."""

import hashlib
from pathlib import Path

import tangent
from app.errors import NotReady
from app.store.blobs import BlobMissing, LocalBlobs
from tangent.errors import BadComponent


def verified(path: Path, sha256: str | None) -> Path:
    """The component file, if it is the one that its row tells of.

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


def load(blobs: LocalBlobs, key: str, sha256: str) -> tangent.Component:
    """The component, mapped: who lets go of it lets go of its file's bytes.

    Its directions were found finite when it came in, and its hash says that they still are.

    Raises:
        BlobMissing: it is not there, or not any more.
        NotReady, BadComponent: it is another file than its row says.
    """
    path = blobs.path(key)
    try:
        return tangent.Component.load(verified(path, sha256), directions_checked=False)
    except (FileNotFoundError, BadComponent) as error:
        if path.exists():
            raise
        raise BlobMissing(f"no blob at {path.name} any more") from error
