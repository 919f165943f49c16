"""The sockets on which API processes listen: one each, all on the same address."""

import errno
import socket
from contextlib import ExitStack

from app.settings import BadSettings, Settings


def open_listener(settings: Settings) -> socket.socket:
    """Open a socket on the settings' address; call this before anything else is started.

    For several API processes it only keeps the address, on which each of them opens a socket of its
    own: the system gives every new connection to one of those that listen, a stopped one too.

    Raises:
        BadSettings: the address cannot be used, or another service has it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as closing:
            listener = closing.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)  # alone: fails if a process of another service listens there
            if settings.api_processes > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            closing.pop_all()
            return listener
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise BadSettings(
            f"cannot listen on {where} ({error.strerror}): "
            f"choose another --{'port' if of_port else 'host'}"
        ) from None


def open_beside(family: int, address: tuple[object, ...]) -> socket.socket:
    """Open one more socket on an address that `open_listener` keeps for several."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    return listener


def print_address(listener: socket.socket) -> None:
    """Print where the service answers: its API, and the page for a browser."""
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    url = f"http://{host}:{port}"
    words = f"{url}/docs describes its API, a browser shows {url}/"
    print(f"Tangent Composer answers: {words}", flush=True)
