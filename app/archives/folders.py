"""A folder of files on this machine, as the entries of an archive that holds them.

What an archive is refused for, a folder is refused for too: links, devices, names that are no text.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from app.archives.entries import Entry, damaged
from app.archives.names import Names
from app.errors import Malformed, TooLarge
from tangent_composer.folders import Found, found_below, opened


def entries(folder: Path, max_bytes: int, names: Names) -> Iterator[Entry]:
    """Yield every file below the folder, and every folder, by their paths' bytes.

    Raises:
        TooLarge: `archive_too_large`, when the files have more than `max_bytes` together.
        Invalid: `unreadable_names`.
        Malformed: `folder_unreadable`; when a file is read, `archive_damaged` if it changes.
    """
    read = 0
    for found in _below(folder):
        entry = _entry(found, names)
        read += entry.size
        if read > max_bytes:
            raise TooLarge(
                "archive_too_large",
                f"the folder holds more than the {max_bytes} bytes allowed: train on a part of it",
            )
        yield entry


def size_of(folder: Path) -> int:
    """Return the bytes of all files below the folder."""
    return sum(found.size for found in _below(folder) if found.kind == "file")


def _below(folder: Path) -> Iterator[Found]:
    try:
        yield from found_below(os.fsencode(folder))
    except OSError as error:
        raise _unreadable(error.filename or os.fsencode(folder), error) from error


def _entry(found: Found, names: Names) -> Entry:
    name, fault = names.unmarked(found.name)
    if found.kind != "file":
        return Entry(name, found.kind, 0, bytes, fault)
    return Entry(name, "file", found.size, partial(_read, found.path, found.size), fault)


def _read(path: bytes, size: int) -> bytes:
    try:
        with opened(path) as file:
            data = file.read(size + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) != size:
        raise damaged(f"{os.fsdecode(path)!r} has changed while the folder was read")
    return data


def _unreadable(path: bytes | str, error: OSError) -> Malformed:
    why = f"{os.fsdecode(path)!r} cannot be read ({error.strerror}): check its permissions"
    return Malformed("folder_unreadable", why)
