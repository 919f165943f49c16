"""A TCP proxy to Postgres that can lose the answer to a COMMIT, or freeze.

with proxied(url) as (through, cut):    `through` is the database's URL by way of the proxy
    cut.after(b"INSERT INTO image")     the next COMMIT on a line that has carried these bytes
    …                                   reaches the server, and its answer reaches nobody
    assert cut.done.is_set()

    with cut.frozen():                  lines stay open and new ones open, but nothing passes
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PATIENCE = 60  # seconds, for a server's answer under load


class Cut:
    """A request to cut a line, and the event that it was cut."""

    def __init__(self) -> None:
        self.marker: bytes | None = None
        self.refusing = False  # once cut, no line is opened any more
        self.done = threading.Event()
        self.passing = threading.Event()
        self.passing.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let nothing pass in either direction during the block, as a frozen server does."""
        self.passing.clear()
        try:
            yield
        finally:
            self.passing.set()

    def after(self, marker: bytes, *, refusing: bool = False) -> None:
        """Cut the line on which these bytes go out, at its next COMMIT."""
        self.marker, self.refusing = marker, refusing


@contextmanager
def proxied(url: str) -> Iterator[tuple[str, Cut]]:
    """Yield the URL of a proxy to the database, and what says when the proxy cuts a line."""
    parts, cut = urlsplit(url), Cut()
    listener = socket.create_server(("127.0.0.1", 0))
    target = parts.hostname, parts.port
    thread = threading.Thread(target=_accept, args=(listener, target, cut), daemon=True)
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable", cut
    finally:
        listener.close()


def _accept(listener: socket.socket, target: tuple, cut: Cut) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            if cut.refusing and cut.done.is_set():
                client.close()
                continue
            line = Line(client, socket.create_connection(target), cut)
            threading.Thread(target=line.answer, daemon=True).start()
            threading.Thread(target=line.send, daemon=True).start()


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class Line:
    """One connection by way of the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket, cut: Cut) -> None:
        self.client, self.server, self.cut = client, server, cut
        self._losing, self._ended = threading.Event(), threading.Event()

    def send(self) -> None:
        """Pass on what the client sends."""
        marked, cut = False, self.cut
        with suppress(OSError):
            while data := self.client.recv(65536):
                self.cut.passing.wait()
                marked = marked or (cut.marker is not None and cut.marker in data)
                if marked and b"COMMIT" in data and not cut.done.is_set():
                    self._losing.set()
                    self.server.sendall(data)
                    self.server.shutdown(socket.SHUT_WR)  # it ends once it has done what was sent
                    assert self._ended.wait(PATIENCE)
                    cut.done.set()
                    break
                self.server.sendall(data)
        _close(self.client, self.server)

    def answer(self) -> None:
        """Pass on what the server answers, but to a COMMIT whose answer is to be lost."""
        with suppress(OSError):
            while data := self.server.recv(65536):
                self.cut.passing.wait()
                if not self._losing.is_set():
                    self.client.sendall(data)
        self._ended.set()
        if not self._losing.is_set():
            _close(self.client, self.server)
