"""Folders that other processes change meanwhile: what has vanished is passed over.

files(folder)                               all below it
was_changed_before(path, at), size(path)    False and None for what is gone
remove(path)                                as far as others do not write to it meanwhile
sync(folder)                                so that a power cut takes back nothing in it
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PASSED_OVER = (FileNotFoundError, NotADirectoryError, PermissionError)


def files(folder: Path) -> Iterator[Path]:
    """Yield every file below the folder, in no order; none if there is no such folder."""
    for root, _, names in os.walk(folder, onerror=_raise):
        yield from (path for name in names if (path := Path(root, name)).is_file())


def _raise(error: OSError) -> None:
    """Raise what says nothing about the folder, as of a disk that cannot be read."""
    if not isinstance(error, PASSED_OVER):
        raise error


def was_changed_before(path: Path, at: float) -> bool:
    """Return whether the file or folder is there, and was last changed before that time."""
    try:
        return path.stat().st_mtime < at
    except FileNotFoundError:
        return False


def size(path: Path) -> int | None:
    """Return the file's number of bytes; None if there is no such file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Remove the file, or the folder with all in it, unless it is gone."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Have the disk keep the folder's entries."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)
