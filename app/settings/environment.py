"""The environment, which no other file reads: of settings, and for processes that are started."""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

PREFIX = "TANGENT_"
SECRET = ("api_key", "database_url")  # settings whose values are not shown
# What Kubernetes sets for a Service whose name begins with tangent.
LINKS = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
SERVICE_LINK = re.compile(r"[a-z]+://")

OF_CLIENTS = ("URL",)  # variables of tangent_composer that are no settings of the service

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # torch's name for the folder of compiled passes

AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class BadSettings(Exception):
    """Settings that cannot be used; the message has one sentence per setting."""


def read_as(model: type[AnySettings], given: dict[str, Any]) -> AnySettings:
    """Return the settings of the environment, overridden by those that are given.

    Raises:
        BadSettings: names every wrong flag or variable, and says why it is wrong.
    """
    try:
        return model(**given)
    except ValidationError as error:
        wrong = [_sentence(detail, given) for detail in error.errors(include_url=False)]
        raise BadSettings("; ".join(wrong)) from None


def remarks(names: Iterable[str]) -> list[str]:
    """Return a sentence for each variable that has no effect, though somebody has set it.

    `names` are those of the settings.
    """
    known = {name.upper() for name in names}
    return [
        remark
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(PREFIX) and (remark := _remark(name, value, known))
    ]


def environment_with(**variables: str) -> dict[str, str]:
    """Return this process's environment and these variables, for a process that it starts."""
    return {**os.environ, **variables}


def environment_of_engine(cache: Path) -> dict[str, str]:
    """Return the environment of an engine's process, whose compiled passes are kept in `cache`.

    A folder that somebody has chosen by torch's own variable stays.
    """
    return {COMPILED: str(cache), **os.environ}


def _remark(name: str, value: str, names: set[str]) -> str | None:
    own = name.upper().removeprefix(PREFIX)
    if own in names:
        is_secret = own.lower() in SECRET
        return (
            f"{name} is empty, which counts as not set" if is_secret and not value.strip() else None
        )
    if own in OF_CLIENTS or LINKS.fullmatch(own) or SERVICE_LINK.match(value):
        return None
    nearest = get_close_matches(own, names, 1)
    meant = (
        f"did you mean {PREFIX}{nearest[0]}?"
        if nearest
        else "docs/settings.md lists those that there are"
    )
    return f"{name} is no setting, and has no effect: {meant}"


def _sentence(error: Any, given: dict[str, Any]) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    source = f"--{name.replace('_', '-')}" if name in given else f"{PREFIX}{name.upper()}"
    value = "***" if name in SECRET else repr(error["input"])
    return f"{source} is {value}: {message}"
