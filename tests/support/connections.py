"""Raw connections to a service, for what no client library would send."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.service import Service


@contextmanager
def connected(
    service: Service, sent: bytes = b"", window: int | None = None
) -> Iterator[socket.socket]:
    """A raw connection; a small window makes the server wait for the client's reading."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.socket() as line:
        if window:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        line.settimeout(20)
        line.connect((host, int(port)))
        line.sendall(sent)
        yield line


def read_all(line: socket.socket) -> tuple[bytes, bool]:
    """Return what comes until the end, and whether the end is a reset."""
    data = bytearray()
    try:
        while piece := line.recv(2**16):
            data += piece
    except ConnectionResetError:
        return bytes(data), True
    return bytes(data), False


def answers(line: socket.socket) -> bool:
    """Return whether a GET of /livez on this connection is answered 200."""
    line.sendall(get("/livez"))
    data = b""
    while not data.endswith(b'{"status":"ok"}') and (piece := line.recv(2**16)):
        data += piece
    return data.startswith(b"HTTP/1.1 200")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
