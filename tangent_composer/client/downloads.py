"""Files that are downloaded: beside their place first, and there only when they are whole."""

import hashlib
import os
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import IO, Self

from tangent_composer.client.errors import BadInput, UnexpectedAnswer


class Download:
    """A file that is written in a block, and is there after it whole or not at all."""

    def __init__(self, target: Path, etag: str | None) -> None:
        """`etag` is the file's SHA-256 as the service names it; None is not compared."""
        self._target, self._sha256 = target, etag and etag.strip('"')
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        """Make the file.

        Raises:
            BadInput: the folder cannot be written to.
        """
        self._partial = self._target.with_name(f".{self._target.name}.{token_hex(4)}.partial")
        try:
            self._file: IO[bytes] = self._partial.open("xb")
        except OSError as error:
            raise BadInput(
                "cannot_write",
                f"{self._target} cannot be written: {error.strerror}",
                "name a file in a folder that you may write to",
            ) from None
        return self

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._hash.update(data)
        self._file.write(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
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
