"""`tangent sample`: real images that come with the package, to try a service with."""

from pathlib import Path
from typing import Annotated

import typer

from tangent_composer.cli.refusal import Refusal
from tangent_composer.terminal import say

sample = typer.Typer(help="Write sample data that comes with the package.", no_args_is_help=True)


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.add_typer(sample, name="sample", rich_help_panel="Start")


@sample.callback()
def _group() -> None:
    """Write sample data that comes with the package."""


@sample.command()
def digits(
    folder: Annotated[Path, typer.Argument(help="New folder.")] = Path("digits"),
) -> None:
    """Write handwritten digits: five zip archives with a folder per label, and held-out images."""
    from tangent_composer.samples import digits as samples

    try:
        say(samples.write(folder))
    except OSError as error:
        raise Refusal(f"{folder} cannot be written: {error.strerror}") from None
