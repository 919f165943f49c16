"""Cards of spaces, written once and kept open for those who ask again, by ranges or as a whole.

A card holds weights, scope and declared labels of its space, and nothing of a dataset. Its file has
no name, so that it goes with the process.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import BinaryIO, NamedTuple, cast
from weakref import WeakValueDictionary

MAX_KEPT = 2  # cards; one has the size of its backbone's weights

Key = tuple[str, str]  # a space's name and fingerprint


def contents_of(name: str) -> str:
    """Return the name of a space's card among the contents of a transfer."""
    return f"card of space {name}"


class KeptCard(NamedTuple):
    """The SHA-256 of a card, and its file."""

    version: str
    file: BinaryIO


class SpaceCards:
    """The cards of the spaces that were asked for last."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._lock = scratch, Lock()  # which is held for moments only
        self._kept: OrderedDict[Key, KeptCard] = OrderedDict()
        self._turns: WeakValueDictionary[Key, Lock] = WeakValueDictionary()
        self._forgettings = 0

    def open(self, key: Key, write: Callable[[Path], str]) -> KeptCard:
        """Return the card, with a file of the caller's own; `write` makes it if it is not kept.

        Those who ask for the same card meanwhile wait for it, and nobody else does.
        """
        with self._lock:
            turn = self._turns.setdefault(key, Lock())
        with turn:
            with self._lock:
                if (kept := self._kept.get(key)) is not None:
                    self._kept.move_to_end(key)
                    return _shared(kept)
                before = self._forgettings
            made = self._written(write)
            with self._lock:
                given = _shared(made)
                if self._forgettings == before:
                    self._keep(key, made)
                else:  # its space may be gone
                    made.file.close()
                return given

    def forget(self, name: str | None = None) -> None:
        """Forget the cards of this space, or all; files that are open elsewhere stay so."""
        with self._lock:
            self._forgettings += 1
            for key in [each for each in self._kept if name in (None, each[0])]:
                self._kept.pop(key).file.close()

    def _keep(self, key: Key, card: KeptCard) -> None:
        self._kept[key] = card
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)[1].file.close()

    def _written(self, write: Callable[[Path], str]) -> KeptCard:
        with TemporaryDirectory(dir=self._scratch, prefix="card-") as folder:
            path = Path(folder) / "space.card"
            version = write(path)
            return KeptCard(version, path.open("rb"))


def _shared(card: KeptCard) -> KeptCard:
    return KeptCard(card.version, cast(BinaryIO, SharedFile(card.file)))


class SharedFile(io.RawIOBase):
    """An open file with a position of its own, so that several may read it at a time."""

    name = "space.card"

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self._position = os.dup(file.fileno()), 0

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        if start is None:
            start = os.fstat(self._descriptor).st_size
        self._position = start + offset
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override]
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
