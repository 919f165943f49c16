"""Clients that hold connections: slow readers, half a request, streams that nobody reads."""

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

from benchmarks.battery.answers import Answers


def _connected(url: str) -> socket.socket:
    where = urlsplit(url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    made.settimeout(10)
    made.connect((where.hostname, where.port))
    return made


def _get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def read_a_delta_slowly(url: str, component_id: str, seconds: float) -> Answers:
    """Read a component's file at two bytes a second; return its status."""
    with _connected(url) as line:
        line.sendall(_get(f"/v1/components/{component_id}/delta"))
        status = line.recv(12)[9:].decode()
        until, ended = time.monotonic() + seconds, ""
        while time.monotonic() < until and not ended:
            try:
                ended = "" if line.recv(2) else " closed"
            except OSError as error:
                ended = f" {type(error).__name__}"
            time.sleep(1)
    return Answers([status + ended])


def hold_half_open_connections(url: str, count: int, seconds: float) -> Answers:
    """Send the beginnings of requests and nothing more; return how many were closed."""
    with ExitStack() as stack:
        lines = [stack.enter_context(_connected(url)) for _ in range(count)]
        for line in lines:
            line.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        time.sleep(seconds)
        closed = sum(_is_closed(line) for line in lines)
    return Answers({f"closed after {seconds:g} s": closed, "still open": count - closed})


def hold_event_streams(url: str, component_id: str, count: int, seconds: float) -> Answers:
    """Open streams of events of a component to which nothing happens; return their statuses."""
    with ExitStack() as stack:
        lines = [stack.enter_context(_connected(url)) for _ in range(count)]
        for line in lines:
            line.sendall(_get(f"/v1/components/{component_id}/events", "Accept: text/event-stream"))
        answers = Answers(_status(line) for line in lines)
        time.sleep(seconds)
    return answers


def _status(line: socket.socket) -> str:
    try:
        return line.recv(12)[9:].decode()
    except OSError as error:
        return type(error).__name__


def _is_closed(line: socket.socket) -> bool:
    line.settimeout(0)
    try:
        while line.recv(4096):
            continue
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
