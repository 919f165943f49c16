"""The data folder closed to other users: folders 0700, files 0600.

create_privately()              in every process, before it makes anything
close(settings.data_dir)        once the folder is known to be its database's
"""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

# What the service makes in a data folder. Whatever else lies there is somebody's own.
OURS = (
    *("tangent.db*", "database-id*", "in-use.lock", "migrate.lock", "workers", "compiled"),
    *("blobs", "scratch", "quarantine", "moving", "restoring"),
)
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO

log = logging.getLogger(__name__)


def create_privately() -> None:
    """Have everything that this process and its children make closed to other users."""
    os.umask(FOR_OTHERS)


def close(folder: Path) -> None:
    """Take other users' access from the folder and our files; warn where that is not ours to do.

    A folder that is closed itself is not walked through, as nobody gets at what is in it.
    """
    if not folder.is_dir() or not _is_open(folder):
        return
    left = [path for path in (folder, *_below(folder)) if not _close_one(path)]
    if left:
        log.warning(
            "other users of this machine can get at %d files and folders, %s first, which belong "
            "to another user: close the data folder to them (chmod -R go= %s)",
            len(left),
            left[0],
            folder,
        )


def _below(folder: Path) -> Iterator[Path]:
    for path in (path for name in OURS for path in folder.glob(name)):
        yield path
        for root, folders, files in os.walk(path) if not path.is_symlink() else ():
            yield from (Path(root, name) for name in (*folders, *files))


def _is_open(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:  # gone in the meantime
        return False
    return bool(mode & FOR_OTHERS) and not stat.S_ISLNK(mode)


def _close_one(path: Path) -> bool:
    """Return whether other users are kept out now."""
    if not _is_open(path):
        return True
    try:
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~FOR_OTHERS)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
