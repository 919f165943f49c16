"""Open files: what users give instead of a path, read once from where they stand."""

from collections.abc import Iterator
from typing import Any

from tangent_composer.client.errors import BadInput

PIECE = 2**20  # bytes


def is_open_file(given: Any) -> bool:
    """Return whether this is an object to be read, and no class of such objects."""
    return hasattr(given, "read") and not isinstance(given, type)


def name_of(file: Any, other: str) -> str:
    """Return the path that the file was opened by; `other` where it has none."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name else other


def pieces(file: Any) -> Iterator[bytes]:
    """Yield what is left to be read.

    Raises:
        BadInput: it cannot be read, is open as text, or stands at its end.
    """
    what, is_empty = name_of(file, type(file).__name__), True
    if hasattr(file, "encoding"):
        raise _not_binary(what)
    while data := _next(file, what):
        if not isinstance(data, bytes | bytearray | memoryview):
            raise _not_binary(what)
        is_empty = False
        yield bytes(data)
    if is_empty:
        raise BadInput("empty_file", f"the open file {what} has nothing left to read", "seek(0)")


def _next(file: Any, what: str) -> Any:
    try:
        return file.read(PIECE)
    except (OSError, ValueError, TypeError) as error:  # ValueError: of one that was closed
        raise BadInput(
            "cannot_read",
            f"the open file {what} cannot be read: {error}",
            "give its path, or one that was opened by open(path, 'rb')",
        ) from None


def _not_binary(what: str) -> BadInput:
    return BadInput(
        "not_binary", f"the open file {what} gives no bytes", "open it by open(path, 'rb')"
    )
