"""Component files: found, checked against their rows and mapped, by the service and the worker."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import tangent  # a name in it loads torch when it is used: annotations stay text
from app.errors import NotReady
from app.store.blobs import BlobMissing, LocalBlobs


def load(blobs: LocalBlobs, key: str, sha256: str) -> "tangent.Component":
    """Return the component, mapped from its file; the mapping ends with the object.

    Its directions were checked to be finite on arrival, and the hash shows that they still are.

    Raises:
        BlobMissing: the file is not there.
        NotReady, BadComponent: the file is not the one that its row describes.
    """
    path = blobs.path(key)
    try:
        _check(path, key, sha256)
        return tangent.Component.load(path, directions_checked=False)
    except Exception as error:
        if path.exists():
            raise
        raise BlobMissing(f"no blob at {key} any more") from error


def open_intact(blobs: LocalBlobs, key: str, sha256: str) -> BinaryIO:
    """Return the file, open at its start; its bytes stay readable after its deletion.

    Raises:
        BlobMissing: the file is not there.
        NotReady: `component_damaged`.
    """
    try:
        file = blobs.path(key).open("rb")
    except FileNotFoundError as error:
        raise BlobMissing(f"no blob at {key} any more") from error
    try:
        _check_open(file, key, sha256)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def is_intact(blobs: LocalBlobs, key: str, sha256: str | None) -> bool:
    """Return whether the file is there and is the one that its row describes."""
    try:
        _check(blobs.path(key), key, sha256)
    except (BlobMissing, NotReady, OSError):
        return False
    return True


def missing(component_id: str) -> NotReady:
    """Return the problem of a component that has a row but no file."""
    return NotReady(
        "component_damaged",
        f"the file of component {component_id} is missing: restore it, or delete the component",
    )


def _check(path: Path, key: str, sha256: str | None) -> None:
    with path.open("rb") as file:
        _check_open(file, key, sha256)


def _check_open(file: BinaryIO, key: str, sha256: str | None) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if found != sha256:
        raise NotReady(
            "component_damaged",
            f"the file {key} has sha256 {found}, its component's row says {sha256}: restore the "
            "file, or delete the component and train it again",
        )
