"""Component files: found, checked against their rows and mapped, by the service and the worker."""

import errno
import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import tangent  # a name in it loads torch when it is used: annotations stay text
from app.errors import NotReady
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.paced_files import Pace, PacedFile
from tangent.components.without_statistics import write_without_statistics

MAX_KNOWN = 100_000  # files whose content is known to be right, a hundred bytes each
MISSING = "is missing"
UNREADABLE = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # the medium fails, not this process


class DamagedFile(NotReady):
    """A component file that is missing, or that is not the one of its row.

    Where the row has gone or names another file by now, it was deleted, and nothing is damaged.
    """

    def __init__(self, key: str, sha256: str | None, fault: str) -> None:
        """`key` and `sha256` are those of the row."""
        component_id = Path(key).parent.name
        lost = f"restore {'it' if fault == MISSING else 'the file'} and start the service again"
        file = f"the file of component {component_id}" if fault == MISSING else f"the file {key}"
        remedy = f"{lost}, POST /v1/components/{component_id}/retrain, or delete the component"
        super().__init__("component_damaged", f"{file} {fault}: {remedy}")
        self.key, self.sha256, self.fault = key, sha256, fault


def load(blobs: LocalBlobs, key: str, sha256: str) -> "tangent.Component":
    """Return the component, mapped from its file; the mapping ends with the object.

    Its directions were checked to be finite on arrival, and the hash shows that they still are.

    Raises:
        DamagedFile: the file is missing or not the one that its row describes.
        BadComponent: another version has written it.
    """
    path = check(blobs, key, sha256)
    try:
        return tangent.Component.load(path, directions_checked=False)
    except Exception as error:
        if path.exists():
            raise
        raise DamagedFile(key, sha256, MISSING) from error


def is_intact(blobs: LocalBlobs, key: str, sha256: str | None) -> bool:
    """Return whether the file is there and is the one that its row describes."""
    try:
        check(blobs, key, sha256)
    except (DamagedFile, OSError):
        return False
    return True


def check(blobs: LocalBlobs, key: str, sha256: str | None, pace: Pace | None = None) -> Path:
    """Return the file's path, if the file is the one that its row describes.

    Raises:
        DamagedFile: it is not, or is not there.
    """
    with _opened(blobs, key, sha256) as file:
        check_open(PacedFile(file, pace) if pace else file, key, sha256)
    return blobs.path(key, must_exist=False)


def hash_without_statistics(blobs: LocalBlobs, key: str, sha256: str | None) -> str:
    """Return the SHA-256 that the file has without its statistics.

    Raises:
        DamagedFile: as `check`.
    """
    with _opened(blobs, key, sha256) as file, open(os.devnull, "wb") as nowhere:
        check_open(file, key, sha256)
        file.seek(0)
        return write_without_statistics(file, nowhere)


def check_open(file: BinaryIO | PacedFile, key: str, sha256: str | None) -> None:
    """Check that the open file is the one that its row describes.

    Raises:
        DamagedFile: it is not.
    """
    try:
        found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        raise DamagedFile(key, sha256, f"cannot be read ({error.strerror})") from error
    if found != sha256:
        fault = f"has sha256 {found}, its component's row says {sha256}"
        raise DamagedFile(key, sha256, fault)


def _opened(blobs: LocalBlobs, key: str, sha256: str | None) -> BinaryIO:
    try:
        return blobs.path(key).open("rb")
    except (BlobMissing, FileNotFoundError) as error:
        raise DamagedFile(key, sha256, MISSING) from error


class CheckedFiles:
    """Files that were checked once, and were not written since: for downloads, many of one file."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[int, ...]] = OrderedDict()
        self._lock = Lock()

    def open(self, blobs: LocalBlobs, key: str, sha256: str) -> BinaryIO:
        """Return the file, open at its start; its bytes stay readable after its deletion.

        Raises:
            DamagedFile: the file is missing or not the one that its row describes.
        """
        file = _opened(blobs, key, sha256)
        try:
            state = state_of(os.fstat(file.fileno()))
            with self._lock:
                known = self._known.get((key, sha256))
            if known != state:
                check_open(file, key, sha256)
                file.seek(0)
                self._keep(key, sha256, state)
            return file
        except BaseException:
            file.close()
            raise

    def _keep(self, key: str, sha256: str, state: tuple[int, ...]) -> None:
        with self._lock:
            self._known[key, sha256] = state
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """Return what changes when the file is written: inode, size and times; nobody sets `ctime`."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
