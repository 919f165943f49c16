"""A wake-up call from any thread to the one that waits at a poller."""

import os
from contextlib import suppress

MAX_READ = 4096


class WakeUp:
    """A file descriptor that is readable once it was called, until it is cleared.

    Only the first call after a clearing writes to it: each writing hands the interpreter over to
    the thread that waits, and the caller has to get it back.
    """

    def __init__(self) -> None:
        self.fd, self._end = os.pipe()
        self._is_called = False
        for each in (self.fd, self._end):
            os.set_blocking(each, False)

    def call(self) -> None:
        """Wake the thread that waits, now or when it next waits: first put what it is to find."""
        if self._is_called:
            return
        self._is_called = True
        with suppress(BlockingIOError):  # so many calls wait that it is readable anyway
            os.write(self._end, b"\0")

    def clear(self) -> None:
        """Forget all calls so far: look for what was put only then."""
        with suppress(BlockingIOError):
            while len(os.read(self.fd, MAX_READ)) == MAX_READ:
                pass
        self._is_called = False

    def close(self) -> None:
        """Give the descriptors back; nobody may call any more."""
        os.close(self.fd)
        os.close(self._end)
