"""Paths: of requests, with ids and names that can lead nowhere else, and of files here."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tangent_composer.client.errors import BadInput
from tangent_composer.client.request_checks import sendable


def segment(name: str) -> str:
    """Return an id or a name as one part of a path.

    Raises:
        BadInput: it is no text that can be sent, or one that paths take for another place, as `..`.
    """
    if not isinstance(name, str) or name in ("", ".", ".."):
        raise BadInput("bad_name", f"{name!r} is no id and no name", "give the text of one")
    with sendable():
        return quote(name, safe="")


def local(path: Any) -> Path:
    """Return the path of a file or a folder on this machine.

    Raises:
        BadInput: it is none, or empty, which would be the current folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise BadInput("no_path", f"{type(path).__name__} is no path", "give the path of a file")
    if not (text := os.fspath(path)):
        raise BadInput("no_path", f"{text!r} is no path", "give one; '.' is the current folder")
    return Path(path)
