"""The commands `tangent keys create`, `list` and `revoke`, on the database itself."""

import argparse
import re
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from app.access import keys
from app.access.callers import KeyLimits
from app.cli.access_parsers import LIMITS
from app.database.audit import by_command
from app.database.sessions import Session, open_engine, session_factory, transaction, with_info
from app.database.tables import ApiKey
from app.errors import Problem
from app.settings import BadSettings, Settings
from tangent_composer.schemas.keys import KeyIn, KeyOut
from tangent_composer.terminal import as_json, clean, one_line, say

MAX_LISTED = 1_000_000
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def run(settings: Settings, flags: argparse.Namespace) -> int:
    """Run one action; return its exit status: 1 if there is no such key.

    Raises:
        BadSettings: a flag cannot be used.
    """
    engine = open_engine(settings)
    try:
        named = (flags.key_id,) if flags.action == "revoke" else ()
        act = by_command(f"tangent keys {flags.action}", *named)
        with transaction(with_info(session_factory(engine), act=act)) as session:
            ACTIONS[flags.action](session, flags)
    except Problem as problem:
        say(f"tangent: {one_line(problem.detail)}", on_error=True)
        return 1
    finally:
        engine.dispose()
    return 0


def create(session: Session, flags: argparse.Namespace) -> None:
    """Make a key and print it."""
    asked = wanted(flags)
    row, token = keys.create(
        session,
        name=asked.name,
        scopes=asked.scopes,
        expires_at=asked.expires_at,
        limits=KeyLimits(**asked.limits.model_dump()),
    )
    print(_json(row, key=token) if flags.json else token)


def list_(session: Session, flags: argparse.Namespace) -> None:
    """Print all keys, the oldest first."""
    for row in keys.list_(session, after=None, limit=MAX_LISTED):
        if flags.json:
            print(_json(row))
        else:
            print(row.id, _state(KeyOut.of(row)), ",".join(row.scopes), clean(row.name), sep="\t")


def revoke(session: Session, flags: argparse.Namespace) -> None:
    """Revoke a key; running services notice within seconds."""
    row = keys.revoke(session, flags.key_id)
    print(_json(row) if flags.json else f"{row.id} is revoked")


ACTIONS = {"create": create, "list": list_, "revoke": revoke}


def wanted(flags: argparse.Namespace) -> KeyIn:
    """Return the key that the flags ask for.

    Raises:
        BadSettings: a flag cannot be used.
    """
    given = {name: value for name in LIMITS if (value := getattr(flags, name)) is not None}
    asked = {
        "name": flags.name,
        "scopes": [scope.strip() for scope in flags.scopes.split(",")],
        "expires_at": flags.expires and _time(flags.expires),
        "limits": {name: _number(value) for name, value in given.items()},
    }
    try:
        return KeyIn.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        flag = next(str(part) for part in reversed(first["loc"]) if isinstance(part, str))
        flag = "expires" if flag == "expires_at" else flag.replace("_", "-")
        raise BadSettings(f"--{flag}: {first['msg'].removeprefix('Value error, ')}") from None


def _number(text: str) -> int | float | str:
    """Return the number that a text is; the text itself if it is none, which is refused."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _time(text: str) -> datetime:
    """Return the time that the text names, or that lies so far from now; in UTC without a zone."""
    if found := re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text):
        return datetime.now(UTC) + int(found[1]) * UNITS[found[2]]
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadSettings(
            f"--expires is {text!r}: give a time such as 2027-01-31, or 90d, 12h or 30m"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _state(key: KeyOut) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    over = key.expires_at <= datetime.now(UTC)
    return "expired" if over else f"valid until {key.expires_at:%Y-%m-%d %H:%M}"


def _json(row: ApiKey, **more: str) -> str:
    shown = KeyOut.of(row).model_dump(mode="json") | more
    return as_json(shown)
