"""The gate between answers and deletions: many answers at once, or one deletion alone.

Predictions do not enter it: they are made again if a deletion overtakes them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Condition
from time import monotonic

from app.errors import NotReady
from app.inference.lease import Lease
from app.server.transfers import Client, Transfer, Transfers


class Gate:
    """A readers–writer lock whose waiting writer goes before new readers.

    An evaluation or a download enters before it uses components, and leaves when it is made; from
    then on it is a transfer, which a deletion of its contents ends. So nothing waits for a client.
    If a deletion came between the reading of the components' rows and the entrance,
    `read_consistently` finds out.
    """

    def __init__(self, patience: float = 60.0) -> None:
        """Open a gate where a deletion waits at most `patience` seconds for answers in flight."""
        self.patience = patience
        self._changed = Condition()
        self._inside = 0  # answers between enter and leave
        self._closed = False  # a deletion waits or works

    def enter(self) -> None:
        """Wait until no deletion waits or works, then count as one answer in flight."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1

    def leave(self) -> None:
        """Count one answer less in flight; never block, so that the event loop may call this."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the gate alone: answers in flight have finished, new ones wait.

        Raises:
            NotReady: `predictions_in_flight` when answers have not ended within the patience.
        """
        end = monotonic() + self.patience
        with self._changed:
            if not self._changed.wait_for(lambda: not self._closed, self.patience):
                raise self._too_long()
            self._closed = True
            if not self._changed.wait_for(lambda: not self._inside, max(0.0, end - monotonic())):
                self._reopen()
                raise self._too_long()
        try:
            yield
        finally:
            with self._changed:
                self._reopen()

    def _reopen(self) -> None:
        self._closed = False
        self._changed.notify_all()

    def _too_long(self) -> NotReady:
        return NotReady(
            "predictions_in_flight",
            f"answers that are being computed have held this deletion up for {self.patience:g} s; "
            "nothing was deleted: try again",
        )


class Ticket:
    """An answer's passage through the gate and its transfer afterwards.

    `leave` is harmless if it has not entered. `epoch` is the one as of which the answer was made;
    None if what it contains is not bound to a lease.
    """

    def __init__(
        self,
        gate: Gate,
        transfers: Transfers | None = None,
        client: Client | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.gate, self.inside = gate, False
        self.lease = lease
        self.epoch: int | None = None
        self.has_left = False  # the client has closed its connection
        self.transfers, self.client = transfers or Transfers(), client
        self.transfer: Transfer | None = None

    def when_client_leaves(self, call: Callable[[], None]) -> AbstractContextManager[None]:
        """Have `call` called on the event loop if the client closes its connection in the block."""
        return nullcontext() if self.client is None else self.client.watched(call)

    def enter(self) -> None:
        """Enter the gate, waiting for a deletion to end; do nothing if it is inside."""
        if not self.inside:
            self.gate.enter()
            self.inside = True

    def leave(self) -> None:
        """Leave the gate, once."""
        if self.inside:
            self.inside = False
            self.gate.leave()

    def read_as_of_now(self) -> None:
        """Note the epoch as of which the answer is read from here on.

        Raises:
            NotReady: `lease_expired`.
        """
        if self.lease is not None:
            self.epoch = self.lease.held()

    def handing_over(self) -> AbstractContextManager[bool]:
        """Yield whether the answer may be handed to the connection in the block.

        It may not once any process has deleted since the epoch. The block must not wait.
        """
        if self.lease is None or self.epoch is None:
            return nullcontext(True)
        return self.lease.handing_over(self.epoch)

    @property
    def is_current(self) -> bool:
        """Return whether the answer may be handed to the connection now."""
        return self.lease is None or self.epoch is None or self.lease.covers(self.epoch)

    def hand_over(self, contents: Iterable[str]) -> None:
        """Leave the gate with an answer that is made; a deletion of its contents ends its sending.

        The contents are hashes of component files, or ids of components, datasets and what was
        made with them.
        """
        self.transfer = self.transfers.begin(contents, self.client)
        self.leave()

    @property
    def is_cut(self) -> bool:
        """True if a deletion has ended the transfer."""
        return self.transfer is not None and self.transfer.is_cut

    def finish(self) -> None:
        """Leave, and end the transfer, if there is one; call this from the client's thread."""
        self.leave()
        if self.transfer is not None:
            self.transfers.end(self.transfer)
            self.transfer = None
