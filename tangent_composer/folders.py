"""A folder of files on this machine, read alike by uploads and by trainings without a service.

Nothing is followed: a link or a device below the folder is refused, as it is in an archive. The
folder itself may be a link. Loads nothing but the standard library.
"""

import os
import stat
from collections.abc import Iterator
from typing import IO, NamedTuple

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket device",
}
NO_LINKS = (
    "pack plain files and folders only (files in place of links are stored by GNU tar's "
    "--dereference, by tar -L on a Mac, and by zip without -y)"
)
NO_DEVICES = "leave it out, and pack plain files and folders only"
SEPARATOR = os.fsencode(os.sep)
# Where a system has them: a file that has become a link or a pipe since it was listed is not read.
AS_LISTED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


# Of a folder with copies, which a training keeps beside its output for as long as it runs. The
# output may lie in the folder of the images.
SCRATCH = ".tangent-fit-"


class Found(NamedTuple):
    """One thing below a folder: its path, its path from the folder on, its kind and its bytes."""

    path: bytes
    name: bytes
    kind: str  # "file", "folder", or the name of a kind that is refused
    size: int


def found_below(folder: bytes) -> Iterator[Found]:
    """Yield everything below the folder by the bytes of its path, a folder before its content.

    Scratch folders of trainings are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    waiting, root = _inside(folder), os.path.join(folder, b"")
    while waiting:
        path = waiting.pop()
        status = os.lstat(path)
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "device")
        yield Found(path, path[len(root) :].replace(SEPARATOR, b"/"), kind, status.st_size)
        if kind == "folder":
            waiting += _inside(path)


def opened(path: bytes) -> IO[bytes]:
    """Return the file, open to be read.

    Raises:
        OSError: it cannot be read, or has become a link.
    """
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | AS_LISTED))


def refusal(name: str, kind: str) -> tuple[str, str, str] | None:
    """Return why an entry of this kind is refused: code, sentence and remedy; None if it is not."""
    if kind in ("file", "folder", "hard link"):
        return None
    code, remedy = ("archive_link", NO_LINKS) if "link" in kind else ("archive_device", NO_DEVICES)
    return code, f"{name!r} is a {kind}", remedy


def _inside(folder: bytes) -> list[bytes]:
    """Return the paths in a folder, the first one last."""
    with os.scandir(folder) as found:
        paths = [each.path for each in found if not each.name.startswith(os.fsencode(SCRATCH))]
    return sorted(paths, reverse=True)
