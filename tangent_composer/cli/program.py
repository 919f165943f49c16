"""The program `tangent`, put together from its groups of commands.

Exit status: 0 done; 1 the answer is no (something that was checked is not as it should be, a
training failed, or no image could be answered); 2 it could not be asked: flags, files, settings, or
a service that cannot be reached or refuses; 130 ended by Ctrl-C. What went wrong is one line on
standard error. A reader of the output that has seen enough, as `head`, is no fault.
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
from tangent_composer.terminal import is_output_lost, one_line, say

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
        _check_given(given)
        status = program()(given, prog_name="tangent", standalone_mode=False)
        sys.stdout.flush()
    except Refusal as error:
        return _refused(str(error))
    except TyperException as error:
        what = error.format_message() or "no command was given"  # then the help was printed
        return _refused(f"{what} (see `tangent --help`)")
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as end:  # typer and rich end so where the reader has seen enough
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 0
    except OSError as error:
        if not is_output_lost():
            raise
        if isinstance(error, BrokenPipeError):
            return 0
        return _refused(f"standard output cannot be written: {error.strerror}")
    return status if isinstance(status, int) else 0


def _check_given(arguments: Sequence[str]) -> None:
    """Check that no argument is empty: as a path it would be the current folder.

    Raises:
        Refusal: one is.
    """
    for number, each in enumerate(arguments, 1):
        name, sign, value = each.partition("=")
        is_empty_option = name.startswith("--") and sign and not value
        if is_empty_option or not each:
            what = name or f"argument {number}"
            raise Refusal(f"{what} is empty: give a value (is a variable of your shell not set?)")


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
