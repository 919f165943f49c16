"""A wake-up call from any thread to the one that waits at a poller."""

import os
from contextlib import suppress

MAX_READ = 4096


class WakeUp:
    """A file descriptor that is readable once it was called, until it is cleared."""

    def __init__(self) -> None:
        self.fd, self._end = os.pipe()
        for each in (self.fd, self._end):
            os.set_blocking(each, False)

    def call(self) -> None:
        """Wake the thread that waits, now or when it next waits."""
        with suppress(BlockingIOError):  # so many calls wait that it is readable anyway
            os.write(self._end, b"\0")

    def clear(self) -> None:
        """Forget all calls so far."""
        with suppress(BlockingIOError):
            while len(os.read(self.fd, MAX_READ)) == MAX_READ:
                pass

    def close(self) -> None:
        """Give the descriptors back; nobody may call any more."""
        os.close(self.fd)
        os.close(self._end)
