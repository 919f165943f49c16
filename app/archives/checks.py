"""Checks an archive's files by decoding them, in a few threads, and gives the results in order."""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from app.archives.examiner import Examiner
from app.archives.members import kind_of
from app.images import BadImage, Facts, Limits

BATCH_FILES, BATCH_BYTES = 64, 2**20  # a batch is one task: small files are many
THREADS = min(4, os.cpu_count() or 1)  # small images are bound by the interpreter, not by cores
BYTES_IN_FLIGHT = 32 * 2**20  # read and not yet handed on
BATCHES_IN_FLIGHT = 4 * THREADS


class Checked(NamedTuple):
    """A file after its check: with facts if it is a good image, else with the reason."""

    path: str
    data: bytes
    sha256: bytes
    facts: Facts | None
    reason: str
    pixels: int  # decoded for it, good or not


class Checks:
    """The checks under way; `accept` is called with each result, in the order of `add`.

    Used as a context: leaving it by an error drops what is still under way.
    """

    def __init__(self, limits: Limits, accept: Callable[[Checked], None]) -> None:
        self._accept = accept
        self._examiner = Examiner(limits)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="check")
        self._pending: deque[tuple[Future[list[Checked]], int]] = deque()
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = self._pending_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._submit()
                self._hand_on(to_the_last=True)
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._examiner.close()

    def add(self, path: str, data: bytes) -> None:
        """Check this file; waits while too much is in flight."""
        self._batch.append((path, data))
        self._batch_bytes += len(data)
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._submit()
            self._hand_on(to_the_last=False)

    def _submit(self) -> None:
        future = self._pool.submit(self._check, self._batch)
        self._pending.append((future, self._batch_bytes))
        self._pending_bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0

    def _hand_on(self, *, to_the_last: bool) -> None:
        """Hand on what is finished at the front, and wait for it while too much is in flight."""
        while self._pending:
            future, size = self._pending[0]
            full = self._pending_bytes > BYTES_IN_FLIGHT or len(self._pending) > BATCHES_IN_FLIGHT
            if not (future.done() or full or to_the_last):
                return
            for checked in future.result():
                self._accept(checked)
            self._pending.popleft()
            self._pending_bytes -= size

    def _check(self, batch: list[tuple[str, bytes]]) -> list[Checked]:
        return [self._checked(path, data) for path, data in batch]

    def _checked(self, path: str, data: bytes) -> Checked:
        sha256 = hashlib.sha256(data).digest()
        try:
            facts = self._examiner.examine(data)
        except BadImage as error:
            kind = kind_of(data[:512])
            reason = (
                f"an archive ({kind}) within the archive is not opened" if kind else error.reason
            )
            return Checked(path, b"", sha256, None, reason, error.pixels)
        return Checked(path, data, sha256, facts, "", facts.width * facts.height)
