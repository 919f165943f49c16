"""The command lines of `tangent keys` and `tangent audit`; they load nothing of the database."""

import argparse
from typing import get_args

from tangent_composer.schemas import keys as schemas

LIMITS = tuple(schemas.KeyLimits.model_fields)


def add_keys(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    """Add `keys` to the command line; return the parsers that take a data folder."""
    group = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = group.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("--name", required=True, help="for people; it is in no log")
    scopes = ", ".join(get_args(schemas.Scope))
    create.add_argument("--scopes", required=True, help=f"some of {scopes}, with commas")
    create.add_argument("--expires", help="a time such as 2027-01-31, or from now 90d, 12h or 30m")
    for name in LIMITS:
        text = (schemas.KeyLimits.model_fields[name].description or "").replace("%", "%%")
        create.add_argument(f"--{name.replace('_', '-')}", help=f"limit: {text}")
    listing = actions.add_parser("list", help="print all keys, without their secrets")
    revoke = actions.add_parser("revoke", help="revoke a key for good")
    revoke.add_argument("key_id", help="key_…, as `tangent keys list` prints it")
    for parser in (create, listing, revoke):
        parser.add_argument("--json", action="store_true", help="print JSON, one key a line")
    return [create, listing, revoke]


def add_audit(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add `audit` to the command line; return its parser."""
    parser = commands.add_parser("audit", help="print who changed what, oldest first")
    parser.add_argument("--key", help="only of this key: key_…, local, settings or command:<user>")
    parser.add_argument("--json", action="store_true", help="print JSON, one entry a line")
    return parser
