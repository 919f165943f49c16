"""The lock of a data folder: services and workers share it, a move or a restore has it alone.

On a file system for several machines it reaches as far as that one carries `flock`.
"""

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from app.settings import BadSettings, Settings

FILE = "in-use.lock"
PATIENCE = 2.0  # seconds, for a process that looks whether it is alone
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def shared(settings: Settings) -> Iterator[float | None]:
    """Hold the folder together with others that serve it or work on it.

    Yield the time at which nobody else held it; None if somebody did, or nobody can know.

    Raises:
        BadSettings: the folder is being moved or restored.
    """
    with _opened(settings) as file:
        try:
            alone = time.time() if _taken(file, fcntl.LOCK_EX) else None
            end = time.monotonic() + PATIENCE
            while not _taken(file, fcntl.LOCK_SH):
                if time.monotonic() > end:
                    raise _in_use(settings, "a move or a restore is under way: wait for its end")
                time.sleep(0.02)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            alone = None
        yield alone if settings.sql_url.startswith("sqlite") else None  # else other machines may


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Hold the folder alone.

    Raises:
        BadSettings: a service or a worker runs on the folder.
    """
    with _opened(settings) as file:
        try:
            if not _taken(file, fcntl.LOCK_EX):
                raise _in_use(settings, "a service or a worker runs on it: stop it first")
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            raise _in_use(
                settings, "or on a file system without locks: copy it to one that has them"
            ) from None
        yield


@contextmanager
def _opened(settings: Settings) -> Iterator[IO[str]]:
    folder = settings.data_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a") as file:  # its lock goes with it
        yield file


def _taken(file: IO[str], kind: int) -> bool:
    """Take the lock in this kind, in place of another that this file has; False if it is held."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(settings: Settings, remedy: str) -> BadSettings:
    return BadSettings(f"the data folder {settings.data_dir.absolute()} is in use, {remedy}")
