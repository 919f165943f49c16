"""The service that this user works with, and its key: a file that only the user can read.

{"url": "http://127.0.0.1:8000", "keys": {"http://127.0.0.1:8000": "…"}}
"""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from tangent_composer.client.errors import BadInput
from tangent_composer.environment import URL, config_folder, variable

DEFAULT = "http://127.0.0.1:8000"


class DamagedLogin(BadInput):
    """The file is none that a login has written."""


def place() -> Path:
    """Return where the file is, or would be."""
    return config_folder() / "login.json"


def address(given: str | None) -> str:
    """Return the address given, else that of TANGENT_URL, of the login, or of this machine."""
    return given or variable(URL) or str(_read().get("url") or DEFAULT)


def key_of(url: str) -> str | None:
    """Return the key that is stored for this address."""
    keys: dict[str, str] = _read().get("keys") or {}
    return keys.get(_same(url))


def store(url: str, key: str | None) -> Path:
    """Make this the address to work with, and store or forget its key; return the file.

    A damaged file is written anew: the other keys in it are lost.

    Raises:
        BadInput: the file cannot be written, or others may read it.
    """
    try:
        keys = dict(_read().get("keys") or {})
    except DamagedLogin:
        keys = {}
    keys.pop(_same(url), None)
    if key is not None:
        keys[_same(url)] = key
    file = place()
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(file, json.dumps({"url": _same(url), "keys": keys}, indent=2) + "\n")
    except OSError as error:
        raise BadInput(
            "cannot_write",
            f"{file} cannot be written: {error.strerror}",
            "set TANGENT_URL and TANGENT_API_KEY instead",
        ) from None
    return file


def _replace(file: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".login-")  # readable by its owner only
    try:
        with os.fdopen(handle, "w") as written:
            written.write(text)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read() -> dict[str, Any]:
    """Return what the file says; nothing if there is none.

    Raises:
        BadInput: others may read it.
        DamagedLogin: it is damaged.
    """
    file = place()
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BadInput("open_login", f"others have access to {file}", f"chmod 600 {file}")
            found = json.load(opened)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadInput("cannot_read", f"{file} cannot be read: {error.strerror}", "") from None
    except (ValueError, RecursionError):
        found = None
    if not _is_login(found):
        raise DamagedLogin("bad_login", f"{file} is damaged", "run `tangent login` again")
    login: dict[str, Any] = found
    return login


def _is_login(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    url, keys = found.get("url"), found.get("keys") or {}
    are_keys = isinstance(keys, dict) and all(isinstance(key, str) for key in keys.values())
    return are_keys and isinstance(url, str | None)


def _same(url: str) -> str:
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
