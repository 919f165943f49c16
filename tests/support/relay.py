"""A relay between a client and a service, which holds back what a test wants held."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on; after `most` bytes of a request, or before any answer, it can stop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.most: int | None = None  # bytes of requests that are passed on
        self.holds_answers = False
        self.sent = threading.Event()  # as many bytes as asked for were passed on
        self.answered = threading.Event()  # an answer has come, passed on or held
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for way in ((client, server, self._up), (server, client, self._down)):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, let) -> None:
        with suppress(OSError):
            while data := source.recv(2**14):
                if (kept := let(data)) is None:
                    return
                target.sendall(kept)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _up(self, data: bytes) -> bytes | None:
        if self.most is None:
            return data
        kept, self.most = data[: self.most], max(0, self.most - len(data))
        if self.most == 0:
            self.sent.set()
        return kept or None

    def _down(self, data: bytes) -> bytes | None:
        self.answered.set()
        return None if self.holds_answers else data

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """Yield a relay to the service at this address."""
    made = Relay(url)
    try:
        yield made
    finally:
        made.close()
