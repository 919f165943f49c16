"""`verify-receipts` and `verify-component`, which need files and keys, and no service."""

import argparse

import typer

from tangent_composer.cli import verification
from tangent_composer.cli.refusal import Parser
from tangent_composer.cli.service_commands import AS_GIVEN, Arguments

PANEL = "Check what was saved"


def register(program: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (
        ("verify-receipts", verify_receipts),
        ("verify-component", verify_component),
    ):
        program.command(
            name, context_settings=AS_GIVEN, add_help_option=False, rich_help_panel=PANEL
        )(function)


def verify_receipts(arguments: Arguments = None) -> None:
    """Check saved receipts, checkpoints and proofs; needs no service and no database."""
    raise typer.Exit(verification.run(_flags("verify-receipts", arguments)))


def verify_component(arguments: Arguments = None) -> None:
    """Check the signature of a downloaded component's file."""
    raise typer.Exit(verification.run_component(_flags("verify-component", arguments)))


def _flags(command: str, arguments: list[str] | None) -> argparse.Namespace:
    """Return the flags, read by the parser that the service's own command line has too."""
    parser = Parser(prog="tangent")
    commands = parser.add_subparsers(dest="command", required=True)
    verification.add_parser(commands)
    verification.add_component_parser(commands)
    return parser.parse_args([command, *(arguments or [])])
