"""A bell: wakes the threads of this process that wait for passes, and tells them to stop."""

from threading import Condition, Event


class Bell:
    """A number of rings, which nobody who waits can miss."""

    def __init__(self) -> None:
        self._changed, self._rings = Condition(), 0
        self.ending = Event()  # set: nothing more is begun, and what is computed goes back

    def ring(self) -> None:
        """Wake everybody who waits, or is about to."""
        with self._changed:
            self._rings += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Tell whoever computes passes, or waits for one, to stop; a signal's handler may do so."""
        self.ending.set()
        self.ring()

    def wait(self, heard: int, seconds: float) -> int:
        """Wait for more rings than were heard, for some seconds at most; return their number."""
        with self._changed:
            self._changed.wait_for(lambda: self._rings != heard, seconds)
            return self._rings
