"""The sockets on which API processes listen: one each, all on the same address."""

import errno
import socket
from contextlib import ExitStack

from app.settings import BadSettings, Settings

BACKLOG = 2048  # connections that wait to be taken


def open_listeners(settings: Settings) -> list[socket.socket]:
    """Open a socket for each API process; call this before anything else is started.

    The system gives each new connection to one of them. A connection to a process that is started
    again waits in its socket.

    Raises:
        BadSettings: the address cannot be used, or another service has it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as closing:  # what is open, if another one does not
            listeners: list[socket.socket] = []
            for number in range(settings.api_processes):
                each = closing.enter_context(socket.socket(family, kind, protocol))
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if number == 0:  # bound alone, so that another service on this address is found
                    each.bind(address)
                if settings.api_processes > 1:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if number > 0:
                    each.bind(listeners[0].getsockname())
                listeners.append(each)
            closing.pop_all()
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise BadSettings(
            f"cannot listen on {where} ({error.strerror}): "
            f"choose another --{'port' if of_port else 'host'}"
        ) from None
    if len(listeners) > 1:  # connections wait in all from now on, whichever process is there
        for each in listeners:
            each.listen(BACKLOG)
    return listeners


def print_address(listener: socket.socket) -> None:
    """Print where the service answers."""
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    print(f"Tangent Composer answers: http://{host}:{port}/docs", flush=True)
