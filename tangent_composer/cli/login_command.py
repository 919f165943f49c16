"""`tangent login`: the service to work with, and its key in a file of the user's own."""

import sys
from typing import Annotated

import typer

from tangent_composer.cli.connection import refusals
from tangent_composer.cli.refusal import Refusal
from tangent_composer.terminal import say


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command(rich_help_panel="Start")(login)


def login(
    url: Annotated[str, typer.Argument(help="Address of the service.")] = "http://127.0.0.1:8000",
    has_key: Annotated[
        bool,
        typer.Option("--key/--no-key", help="Ask for a key, or read one line of standard input."),
    ] = True,
) -> None:
    """Remember a service's address and key, in a file that only you can read (mode 600)."""
    from tangent_composer import Client
    from tangent_composer.client import login as stored

    key = _key() if has_key else None
    # Exactly the key that is stored is tried: no variable's, and none of a login before.
    with refusals(), Client(url, api_key=key or "") as client:
        client.limits()
        file = stored.store(url, key)
    say(f"{url} is used from now on; {file} has it")


def _key() -> str:
    """Return the key that the user types, or the one line that a program sends."""
    if sys.stdin.isatty():
        return str(typer.prompt("Key", hide_input=True, err=True)).strip()
    key = sys.stdin.readline().strip()
    if not key:
        raise Refusal("no key came: send it on standard input, or say --no-key")
    return key
