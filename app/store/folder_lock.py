"""The lock of a data folder: services and workers share it, a move or a restore has it alone.

On a file system for several machines it reaches as far as that one carries `flock`.
"""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from app.settings import BadSettings, Settings

FILE = "in-use.lock"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def shared(settings: Settings) -> Iterator[None]:
    """Hold the folder together with others that serve it or work on it.

    Raises:
        BadSettings: the folder is being moved or restored.
    """
    with _held(settings, fcntl.LOCK_SH, "a move or a restore is under way: wait for its end"):
        yield


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Hold the folder alone.

    Raises:
        BadSettings: a service or a worker runs on the folder.
    """
    with _held(settings, fcntl.LOCK_EX, "a service or a worker runs on it: stop it first"):
        yield


@contextmanager
def _held(settings: Settings, kind: int, otherwise: str) -> Iterator[None]:
    folder = settings.data_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a") as file:  # let go of with the file
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSettings(f"the data folder {folder} is in use, {otherwise}") from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            if kind == fcntl.LOCK_EX:
                raise BadSettings(
                    f"the data folder {folder} is on a file system without locks: copy it to one "
                    "that has them, and try again"
                ) from None
        yield
