"""Files that are downloaded: beside their place first, and there only when they are whole."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import IO, Self

from tangent_composer.client.errors import BadInput, UnexpectedAnswer


def sha256_of(etag: str) -> str:
    """Return the SHA-256 that an ETag names, also where a proxy that packs has marked it.

    nginx makes it weak, `W/"…"`, and Apache appends to it, `"…-gzip"`; the bytes stay the same.
    """
    return etag.strip().removeprefix("W/").strip('"').partition("-")[0]


class Download:
    """A file that is written in a block, and is there after it whole or not at all."""

    def __init__(self, target: Path, etag: str | None) -> None:
        """`etag` is the file's SHA-256 as the service names it; None is not compared."""
        self._target, self._sha256 = target, None if etag is None else sha256_of(etag)
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        """Make the file.

        Raises:
            BadInput: the folder cannot be written to.
        """
        self._partial, self._file = _beside(self._target)
        return self

    def write(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            BadInput: there is no room for them.
        """
        self._hash.update(data)
        with _writing(self._target):
            self._file.write(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with _writing(self._target):
                self._file.close()
                if error is None:
                    self._check()
                    os.replace(self._partial, self._target)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check(self) -> None:
        found = self._hash.hexdigest()
        if self._sha256 is not None and self._sha256 != found:
            raise UnexpectedAnswer(
                "damaged_download",
                f"{self._target} came with SHA-256 {found}, and the service has {self._sha256}",
                "download it again",
            )


def check_place(target: Path) -> None:
    """Check that a file can be downloaded to this place; leave nothing there.

    Raises:
        BadInput: it is a folder, or in one that cannot be written to.
    """
    partial, file = _beside(target)
    file.close()
    partial.unlink()


def _beside(target: Path) -> tuple[Path, IO[bytes]]:
    """Return a new file beside the target, open, with its path."""
    with _writing(target):
        if target.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        partial = target.with_name(f".{target.name}.{token_hex(4)}.partial")
        return partial, partial.open("xb")


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn the system's errors into one that names the target.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(
            "cannot_write",
            f"{target} cannot be written: {error.strerror}",
            "name a file in a folder that you may write to",
        ) from None
