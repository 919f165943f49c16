"""The program `tangent`, put together from its groups of commands.

Exit status: 0 done; 1 the answer is no (something that was checked is not as it should be, or a
training failed); 2 it could not be asked: flags, files, settings, or a service that cannot be
reached or refuses; 130 ended by Ctrl-C. What went wrong is one line on standard error.
"""

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tangent_composer import __version__
from tangent_composer.cli.refusal import Refusal
from tangent_composer.terminal import one_line, say

# Each has `register(program)`, which adds its commands. They load what they need when they run.
GROUPS = (
    "sample_commands",
    "login_command",
    "dataset_commands",
    "component_commands",
    "composition_commands",
    "predict_command",
    "batch_prediction_command",
    "evaluation_commands",
    "unlearning_commands",
    "receipt_commands",
    "local_commands",
    "service_commands",
    "verify_commands",
)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot write is shown by its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = program()(given, prog_name="tangent", standalone_mode=False)
    except Refusal as error:
        return _refused(str(error))
    except TyperException as error:
        return _refused(f"{error.format_message()} (see `tangent --help`)")
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a table has seen enough
        sys.stderr.close()
        return 0
    return status if isinstance(status, int) else 0


def program() -> typer.Typer:
    """Return the program with all its commands."""
    made = typer.Typer(
        name="tangent",
        help="Serve image classifiers that can be added, weighted and subtracted.",
        epilog="Work with a service: set TANGENT_URL and TANGENT_API_KEY, or run `tangent login`. "
        "Run one: every setting is a variable TANGENT_<NAME>, see `tangent serve --help`.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    made.callback()(_options)
    for name in GROUPS:
        import_module(f"tangent_composer.cli.{name}").register(made)
    return made


def _print_version(asked: bool) -> None:
    if asked:
        say(f"tangent {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version)
    ] = False,
) -> None:
    """Serve image classifiers that can be added, weighted and subtracted."""
    del version


def _refused(reason: str) -> int:
    say(f"tangent: {one_line(reason)}", on_error=True)
    return 2
