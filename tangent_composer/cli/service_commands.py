"""The commands that run a service or look after its data, handed on to `app.cli`.

They are the service's own: their flags are read there, and each needs the extra `serve`.
"""

from typing import Annotated

import typer

from tangent_composer import bundled
from tangent_composer.cli.refusal import Refusal

COMMANDS = {
    "serve": "Run the API and a training worker.",
    "worker": "Run a training worker.",
    "migrate": "Bring the database schema up to date.",
    "doctor": "Look whether database and files fit together.",
    "backup": "Write a backup of database and files, also while serving.",
    "restore": "Bring a backup back into an empty data folder.",
    "move": "Move to another database.",
    "export-receipts": "Save all receipts, one a line.",
    "spaces": "Look after spaces whose backbone has changed.",
    "keys": "Make, list and revoke API keys.",
    "audit": "Print the audit log.",
    "verify-components": "Make components again from their images, and compare the bytes.",
    "demo": "Run the demo against a running service.",
}
AS_GIVEN = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
Arguments = Annotated[list[str] | None, typer.Argument(hidden=True)]


def register(program: typer.Typer) -> None:
    """Add the commands."""
    for name, sentence in COMMANDS.items():
        program.command(
            name,
            help=sentence,
            context_settings=AS_GIVEN,
            add_help_option=False,
            rich_help_panel="Run a service (extra `serve`)",
        )(handed_on)


def handed_on(context: typer.Context, arguments: Arguments = None) -> None:
    """Run the service's own command line with the same arguments."""
    try:
        service = bundled.load("app.cli", "serve")
    except bundled.NotInstalled as error:
        raise Refusal(f"{context.info_name}: {error}") from None
    raise typer.Exit(service.main([str(context.info_name), *(arguments or [])]))
