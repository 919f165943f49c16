"""Files by key in a local folder: written whole or not at all."""

import glob
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from app.files import folders

MAX_TRIES = 10  # to make a folder that others remove, as long as it is empty


class BlobMissing(Exception):
    """No blob lies under that key; the message names it."""


class LocalBlobs:
    """Blobs as files below one folder; keys are relative paths such as `components/cmp_…/delta`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.scratch = self.root.parent / "scratch"
        self.root.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(parents=True, exist_ok=True)

    def scratch_path(self, prefix: str) -> Path:
        """Return a new path on the blobs' disk for a file or folder that `put` will move."""
        return self.scratch / f"{prefix}-{uuid4().hex}"

    def scratch_of(self, prefix: str) -> list[Path]:
        """Return the files and folders that exist under `scratch_path`s of this prefix."""
        return sorted(self.scratch.glob(f"{glob.escape(prefix)}-*"))

    def put(self, source: Path, key: str) -> None:
        """Move a finished file under the key; a crash leaves either nothing or all of it there."""
        target = self.path(key, must_exist=False)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        _move(source, target)
        folders.sync(target.parent)

    def path(self, key: str, *, must_exist: bool = True) -> Path:
        """Return the blob's path on disk.

        Raises:
            BlobMissing: if nothing lies there.
        """
        path = self.root / key
        if not path.absolute().is_relative_to(self.root) or ".." in Path(key).parts:
            raise ValueError(f"blob key {key!r} leaves the blob folder")
        if must_exist and not path.is_file():
            raise BlobMissing(f"no blob at {key}")
        return path

    def delete(self, key: str) -> int:
        """Remove the blob, and its folder if now empty; return the number of bytes freed."""
        path = self.path(key, must_exist=False)
        if not path.is_file():
            return 0
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:  # another process has removed it
            return 0
        if path.parent != self.root:
            with suppress(OSError):  # it is not empty, or gone
                path.parent.rmdir()
        return size

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield every key below the prefix, in sorted order."""
        for path in sorted(folders.files(self.root / prefix)):
            yield str(path.relative_to(self.root))


def _move(source: Path, target: Path) -> None:
    """Move the file into a folder that others may remove as long as nothing is in it."""
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            return
        except FileNotFoundError:
            if tries_left == 0 or not source.exists():
                raise
