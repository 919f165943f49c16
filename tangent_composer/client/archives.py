"""Archives to upload: a file as it is, or a folder as a zip with always the same bytes."""

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tangent_composer.client.errors import BadInput
from tangent_composer.client.open_files import is_open_file, name_of, pieces
from tangent_composer.client.paths import local
from tangent_composer.client.progress import Report, Step
from tangent_composer.folders import Found, found_below, refusal
from tangent_composer.folders import opened as found_file
from tangent_composer.system_files import is_system_file

Source = str | os.PathLike[str] | bytes | IO[bytes]
FORMS = (
    "give a zip or tar archive, by its path, open or as bytes, or a folder with a folder per label"
)
UPLOAD_SECONDS = 3600.0  # between two bytes: the service answers when it has looked at every image
UNNAMED = "upload.zip"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip cannot say earlier; equal folders give equal archives


@dataclass(frozen=True)
class Archive:
    """An archive's name, bytes and hash."""

    name: str
    size: int
    sha256: str
    file: IO[bytes]


class Counted:
    """A file that tells how much of it has been read."""

    def __init__(self, archive: Archive, report: Report) -> None:
        self._file, self._total, self._report = archive.file, archive.size, report
        self._file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        done = self._file.tell()
        self._report(Step(done, self._total, note=f"{done / 2**20:.1f} MiB"))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def form_file(archive: Archive, report: Report) -> dict[str, Any]:
    """Return the archive as the file of a form; `report` is told how much has been read."""
    return {"file": (archive.name, Counted(archive, report), "application/octet-stream")}


@contextmanager
def opened(source: Source) -> Iterator[Callable[[], Archive]]:
    """Yield a function that reads the source and returns its archive, which lasts for the block.

    Raises:
        BadInput: it is neither a file nor a folder with files.
    """
    with tempfile.TemporaryFile(prefix="tangent-upload-") as spare, _file_of(source) as given:

        def read() -> Archive:
            file, name = given or (spare, _copied(source, spare))
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file
            return Archive(as_text(name), size, digest, file)

        yield read


@contextmanager
def _file_of(source: Source) -> Iterator[tuple[IO[bytes], str] | None]:
    """Yield the file and its name; None for a folder or an open file, which are copied first."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), UNNAMED
        return
    if is_open_file(source):
        yield None
        return
    if not isinstance(source, str | os.PathLike):
        raise BadInput("no_archive", f"{type(source).__name__} is no archive", FORMS)
    path = local(source)
    if path.is_dir():
        yield None
        return
    try:
        file = path.open("rb")
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}"
        raise BadInput("cannot_read", what, FORMS) from None
    with file:
        yield file, path.name


def _copied(source: Any, target: IO[bytes]) -> str:
    """Write a folder as a zip, or what is left of an open file; return the archive's name."""
    if not is_open_file(source):
        _write_zip(Path(source), target)
        return f"{_folder_name(source)}.zip"
    name = name_of(source, UNNAMED)
    with _packing(name):
        target.writelines(pieces(source))
    return Path(name).name


def _folder_name(source: Any) -> str:
    return Path(os.fspath(source)).resolve().name or "upload"


def as_text(name: str) -> str:
    """Return a file's name without the bytes that are no text."""
    return os.fsencode(name).decode(errors="replace")


def _write_zip(folder: Path, target: IO[bytes]) -> None:
    """Write the folder's files, by the bytes of their paths.

    Raises:
        BadInput: it cannot be read, has no files, or has what an archive is refused for.
    """
    target.seek(0)
    target.truncate()
    is_empty = True
    with _packing(folder), zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, found in files_below(folder):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.file_size = found.size
            with _reading(folder):
                file = found_file(found.path)
            with file, archive.open(entry, "w") as written:
                shutil.copyfileobj(file, written, 2**20)
            is_empty = False
    if is_empty:
        raise BadInput(
            "empty_folder",
            f"{folder} has no files",
            "put the images of each label into a folder of its name",
        )


@contextmanager
def _packing(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            "cannot_pack",
            f"{folder} cannot be packed in {tempfile.gettempdir()}: {error.strerror}",
            "let TMPDIR name a folder on a disk with room for the copy",
        ) from None


def files_below(folder: Path) -> Iterator[tuple[str, Found]]:
    """Yield the files below the folder with their names; not those that systems add.

    Raises:
        BadInput: it cannot be read, or has a link, a device, or a name that is no text.
    """
    with _reading(folder):
        for found in found_below(os.fsencode(folder)):
            name = found.name.decode(errors="backslashreplace")
            if refused := refusal(name, found.kind):
                raise BadInput(*refused)
            if found.kind != "file" or is_system_file(name):
                continue
            if name.encode() != found.name:
                raise BadInput(
                    "bad_name",
                    f"the name of {name!r} in {folder} is not in UTF-8",
                    "rename it, as by convmv -r --notest -f latin1 -t utf8 FOLDER",
                )
            yield name, found


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = os.fsdecode(error.filename or os.fsencode(folder))
        raise BadInput(
            "cannot_read", f"{where} cannot be read: {error.strerror}", "make it readable"
        ) from None
