"""The client of a command: the service's address and key, and errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from tangent_composer.cli.refusal import Refusal
from tangent_composer.terminal import one_line, say

if TYPE_CHECKING:
    from tangent_composer import Client


@contextmanager
def connected(url: str | None) -> Iterator["Client"]:
    """Yield a client of the service; its errors end the command with one line.

    Raises:
        Refusal: the service cannot be reached, or refuses (exit status 2).
        Exit: what was waited for has failed (exit status 1).
    """
    from tangent_composer import Client

    with refusals(), Client(url) as client:
        yield client


@contextmanager
def refusals() -> Iterator[None]:
    """Let errors of a client end the command with one line.

    Raises:
        Refusal: the service cannot be reached, or refuses (exit status 2).
        Exit: what was waited for has failed (exit status 1).
    """
    from tangent_composer import TangentError
    from tangent_composer.client.errors import Failed, NotFinished

    try:
        yield
    except Failed as error:
        say(f"tangent: {one_line(error)}", on_error=True)
        raise typer.Exit(1) from None
    except NotFinished as error:
        raise Refusal(f"{error.detail}: it goes on; give the command again") from None
    except TangentError as error:
        raise Refusal(str(error)) from None
