"""Answers that are on their way to clients: what they contain, and their end by a deletion.

An answer holds the deletion gate while it is made, never while it is sent: a client that reads
slowly would hold up every deletion. So a deletion ends the transfers of what it has removed, by
closing their connections, before it answers.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from threading import Condition, Lock
from typing import Protocol

CLIENT = "tangent.client"  # the extension of an ASGI scope under which a server offers a Client
GRACE_SECONDS = 0.5  # in which a transfer may end by itself

Permit = Callable[[], AbstractContextManager[bool]]  # yields whether bytes may go in the block


class Client(Protocol):
    """The connection that an answer is sent over."""

    def cut(self, *, only_unsent: bool) -> None:
        """Close the connection and drop what waits in it; call this from any thread but its own.

        With `only_unsent`, do so only if anything waits.
        """

    def abort(self) -> None:
        """Do the same; call this from the connection's own thread."""

    def has_unsent(self) -> bool:
        """Return whether anything waits; call this from the connection's own thread."""

    def watched(self, call: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `call`, from the connection's own thread, if the client leaves in the block."""

    def send_under(self, permit: Permit | None) -> None:
        """Hold the bytes that follow, an answer that needs this permit.

        With None, ask the permit and send them in one call; if it is refused, close the connection.
        Call this from the connection's own thread.
        """


class Transfer:
    """One answer being sent."""

    def __init__(self, contents: Iterable[str], client: Client | None) -> None:
        self.contents, self.client = frozenset(contents), client
        self.is_cut = self.is_over = False


class Transfers:
    """All transfers of one process."""

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self.grace = grace
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._transfers: list[Transfer] = []

    def begin(self, contents: Iterable[str], client: Client | None) -> Transfer:
        """Note an answer that contains these component files, components or datasets.

        Call this before the answer leaves the deletion gate.
        """
        transfer = Transfer(contents, client)
        with self._lock:
            self._transfers.append(transfer)
        return transfer

    def end(self, transfer: Transfer) -> None:
        """Note that everything was handed to the connection; call this from the client's thread."""
        with self._lock:
            transfer.is_over = True
            self._transfers = [each for each in self._transfers if not _has_left(each)]
            self._changed.notify_all()

    def cut(self, contents: Iterable[str]) -> None:
        """End every transfer with any of these contents; return when no byte of it can follow.

        Transfers that end by themselves within the grace are left alone.
        """
        gone = frozenset(contents)
        with self._changed:
            found = [each for each in self._transfers if each.contents & gone]
            self._changed.wait_for(lambda: all(each.is_over for each in found), self.grace)
            for each in found:
                each.is_cut = not each.is_over
        for each in found:
            if each.client is not None:
                each.client.cut(only_unsent=each.is_over)


def _has_left(transfer: Transfer) -> bool:
    client = transfer.client
    return transfer.is_over and not (client is not None and client.has_unsent())
