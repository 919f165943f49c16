"""Files by key in a local folder: written whole or not at all."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


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
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(source, target)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

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
        size = path.stat().st_size
        path.unlink()
        if path.parent != self.root and not any(path.parent.iterdir()):
            path.parent.rmdir()
        return size

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield every key below the prefix, in sorted order."""
        for path in sorted((self.root / prefix).rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self.root))
