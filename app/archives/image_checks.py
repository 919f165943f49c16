"""Has an archive's files decoded, to check them, and delivers the results in order."""

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

from app.archives.entries import Limits
from app.archives.members import archive_format
from app.errors import TooLarge
from app.images.budget import Budget, OutOfBudget
from app.images.decoder import decoder_of
from app.images.image_files import BadImage, Facts

BATCH_FILES, BATCH_BYTES = 64, 2**20  # one task of a thread
THREADS = min(4, os.cpu_count() or 1)
BYTES_IN_FLIGHT = 32 * 2**20  # read and not yet delivered
BATCHES_IN_FLIGHT = 4 * THREADS


class CheckedFile(NamedTuple):
    """A file after its check: facts for a good image, a reason for any other file."""

    path: str
    data: bytes
    sha256: bytes
    facts: Facts | None
    reason: str
    pixels: int  # decoded during the check, even of a bad image


def _checked(path: str, data: bytes, facts: Facts | BadImage) -> CheckedFile:
    sha256 = hashlib.sha256(data).digest()
    if isinstance(facts, OutOfBudget):
        raise TooLarge(
            "archive_bomb",
            f"decoding the images before {path!r} has taken more time of a processor than an "
            "archive of this size may: upload fewer images at a time, or save them again with "
            "fewer pixels",
        )
    if isinstance(facts, Facts):
        return CheckedFile(path, data, sha256, facts, "", facts.width * facts.height)
    reason, nested = facts.reason, archive_format(data[:512])
    if nested:
        reason = f"an archive ({nested}) inside the archive is not opened"
    return CheckedFile(path, b"", sha256, None, reason, facts.pixels)


class ImageChecks:
    """Checks of files in threads; calls `accept` with every result, in the order of `add`.

    A context manager: leaving it by an error cancels the checks that have not finished.
    """

    def __init__(
        self, limits: Limits, accept: Callable[[CheckedFile], None], budget: Budget
    ) -> None:
        self._accept, self._budget = accept, budget
        self._decoder = decoder_of(limits)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="check")
        self._pending: deque[tuple[Future[list[CheckedFile]], int]] = deque()
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = self._pending_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._submit()
                self._deliver(wait_for_all=True)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def add(self, path: str, data: bytes) -> None:
        """Queue the file for its check; wait while too many bytes or batches are in flight."""
        self._batch.append((path, data))
        self._batch_bytes += len(data)
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._submit()
            self._deliver(wait_for_all=False)

    def _submit(self) -> None:
        future = self._pool.submit(self._check_batch, self._batch)
        self._pending.append((future, self._batch_bytes))
        self._pending_bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0

    def _deliver(self, *, wait_for_all: bool) -> None:
        """Deliver the finished batches at the front; wait for them while too much is in flight."""
        while self._pending:
            future, size = self._pending[0]
            full = self._pending_bytes > BYTES_IN_FLIGHT or len(self._pending) > BATCHES_IN_FLIGHT
            if not (future.done() or full or wait_for_all):
                return
            for checked in future.result():
                self._accept(checked)
            self._pending.popleft()
            self._pending_bytes -= size

    def _check_batch(self, batch: list[tuple[str, bytes]]) -> list[CheckedFile]:
        found = self._decoder.examine([data for _, data in batch], self._budget)
        return [_checked(*file, facts) for file, facts in zip(batch, found, strict=True)]
