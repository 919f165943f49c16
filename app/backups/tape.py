"""The tar file of a backup: written member by member with hashes, and read back against them.

The database comes first, then the blobs, and the manifest last, when every hash is known. A file is
written as FILE.partial, for its owner only, and takes its name when it has been read back whole.
"""

import fcntl
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from app.archives.packs import Place
from app.backups.manifest import BLOBS, DATABASE, NAME, BadBackup, Entry, Manifest
from app.files.component_files import UNREADABLE
from app.settings import BadSettings

CHUNK = 2**20
MAX_MANIFEST_BYTES = 2**28


class Unreadable(OSError):
    """A file of the store that its medium does not give back."""


class Tape:
    """A backup that is being written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rewind()

    def rewind(self) -> None:
        """Begin again, without what was written so far."""
        self._file.seek(0)
        self._file.truncate()
        self.entries: dict[str, Entry] = {}
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, path: Path, erased: Sequence[Place] = ()) -> Entry:
        """Add the file as it is now, with zeros in the erased places.

        Raises:
            Unreadable: the file's medium fails; nothing of it was added.
        """
        start = self._tar.offset
        try:
            with _opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                hashed = _Hashed(file, erased)
                self._tar.addfile(_member(name, size), hashed)  # type: ignore[arg-type]
        except Unreadable:
            self._file.seek(start)
            self._file.truncate()
            self._tar.offset = start
            raise
        entry = self.entries[name] = Entry(size, hashed.digest.hexdigest())
        return entry

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest, and have everything on the disk."""
        data = manifest.to_bytes()
        self._tar.addfile(_member(NAME, len(data)), io.BytesIO(data))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def written(target: Path) -> Iterator[Tape]:
    """Yield a tape; after the block read it back whole, and give it the target's name.

    Raises:
        BadSettings: the target is there already, or another process writes it, or it does not read
            back as it was written.
    """
    if target.exists():
        raise BadSettings(f"{target} is there already: choose another name for the backup")
    partial = target.with_name(target.name + ".partial")
    number = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(number, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSettings(f"another process writes {partial}: wait for its end") from None
        try:
            os.fchmod(number, 0o600)
            file.truncate()
            yield Tape(file)
            _check_back(partial, target)
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    folder = os.open(target.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_back(partial: Path, target: Path) -> None:
    try:
        read(partial)
    except BadBackup as error:
        fault = str(error).partition(": ")[0]
        raise BadSettings(
            f"{target} was not written, as what was written does not read back ({fault}): try "
            "again, or name a file on another disk"
        ) from None


def read(path: Path, into: Path | None = None) -> Manifest:
    """Check every member against the manifest, and write them into a folder if one is given.

    Raises:
        BadBackup: the file is damaged, cut off, or no backup.
    """
    found: dict[str, Entry] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = _checked(member, found)
                file = tar.extractfile(member)
                if name == NAME:
                    if file is None or member.size > MAX_MANIFEST_BYTES:
                        raise BadBackup("it is no backup of Tangent Composer")
                    return _matched(Manifest.from_bytes(file.read()), found)
                assert file is not None
                found[name] = _taken(file, into and into / name)
                if found[name].bytes != member.size:
                    break
    except (tarfile.TarError, EOFError, UnicodeError):
        raise BadBackup("it is damaged, or no backup of Tangent Composer") from None
    raise BadBackup("it is cut off: use another backup")


def _checked(member: tarfile.TarInfo, found: dict[str, Entry]) -> str:
    """Return the member's name if a backup can have such a member."""
    name, parts = member.name, PurePosixPath(member.name).parts
    ours = name in (NAME, DATABASE) or (name.startswith(BLOBS) and len(parts) > 1)
    plain = str(PurePosixPath(name)) == name and ".." not in parts and name.isprintable()
    if not (member.isreg() and ours and plain) or name in found:
        raise BadBackup(f"it has a member {name[:100]!r}, which no backup has")
    return name


def _matched(manifest: Manifest, found: dict[str, Entry]) -> Manifest:
    wrong = sorted(
        name for name in {*found, *manifest.files} if found.get(name) != manifest.files.get(name)
    )
    if wrong or DATABASE not in found:
        raise BadBackup(
            f"{', '.join(wrong[:3]) or DATABASE} is not as it was backed up: use another backup"
        )
    return manifest


def _taken(file: IO[bytes], target: Path | None) -> Entry:
    digest, size = hashlib.sha256(), 0
    copy = None
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    try:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
        if copy is not None:
            copy.flush()
            os.fsync(copy.fileno())
    finally:
        if copy is not None:
            copy.close()
    return Entry(size, digest.hexdigest())


def _opened(path: Path) -> BinaryIO:
    with _medium(path):
        return path.open("rb")


@contextmanager
def _medium(path: str | Path) -> Iterator[None]:
    """Raise Unreadable in the block if the medium of the file fails."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        raise Unreadable(error.errno, error.strerror, str(path)) from error


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


class _Hashed:
    """A file that is hashed as it is read, with zeros in the erased places."""

    def __init__(self, file: BinaryIO, erased: Sequence[Place]) -> None:
        self.digest = hashlib.sha256()
        self._file, self._erased, self._offset = file, erased, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        with _medium(self._file.name):
            start, data = self._offset, bytearray(self._file.read(size))
        self._offset += len(data)
        for place in self._erased:
            begin = max(place.offset, start) - start
            end = min(place.offset + place.length, self._offset) - start
            if begin < end:
                data[begin:end] = bytes(end - begin)
        self.digest.update(data)
        return bytes(data)
