"""`tangent compose` and `tangent compositions`."""

from typing import Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json, show_listing, show_table
from tangent_composer.schemas.compositions import CompositionOut
from tangent_composer.vocabulary import RULES

KeptRule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help=f"{', '.join(RULES)}. Default: weighted if components have weights, else joint.",
        show_default=False,
    ),
]


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.command(rich_help_panel=PANEL)(compose)
    program.command(rich_help_panel=PANEL)(compositions)


def compose(
    name: Annotated[str, typer.Argument(help="Name of the composition.")],
    components: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID[=WEIGHT]]...", help="Components. Default: all.", show_default=False
        ),
    ] = None,
    rule: KeptRule = None,
    space: options.Space = None,
    metadata: options.Notes = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Make a composition, or change the one of this name."""
    chosen = options.weighted(components)
    by = options.rule(rule) or ("weighted" if isinstance(chosen, dict) else "joint")
    notes = options.pairs(metadata)
    with connected(url) as client:
        made = client.compositions.put(
            name, "all" if chosen is None else chosen, rule=by, space=space, metadata=notes
        )
    show_json(made) if as_json else _show(made)


def compositions(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    space: options.Space = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """List compositions, or show one."""
    with connected(url) as client:
        if name is not None:
            found = client.compositions.get(name)
            show_json(found) if as_json else _show(found)
            return
        listed = list(client.compositions.each(space=space))
    if as_json:
        show_listing(listed)
        return
    rows = [[each.name, each.space, each.rule, _members(each)] for each in listed]
    show_table(("name", "space", "rule", "components"), rows)


def _members(composition: CompositionOut) -> Any:
    if composition.components == "all":
        return "all"
    return [
        each.id if each.weight is None else f"{each.id}={each.weight:g}"
        for each in composition.components
    ]


def _show(composition: CompositionOut) -> None:
    show_facts(
        [
            ("name", composition.name),
            ("space", composition.space),
            ("rule", composition.rule),
            ("components", _members(composition)),
            ("etag", composition.etag),
        ]
    )
