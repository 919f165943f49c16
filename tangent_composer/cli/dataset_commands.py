"""`tangent upload` and `tangent datasets`."""

from pathlib import Path
from typing import Annotated

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.output import show_facts, show_json, show_listing, show_table
from tangent_composer.schemas.datasets import DatasetOut
from tangent_composer.terminal import say

PANEL = "Work with a service"
FEW = 10  # rejected files that are shown


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.command(rich_help_panel=PANEL)(upload)
    program.command(rich_help_panel=PANEL)(datasets)


def upload(
    source: Annotated[
        Path, typer.Argument(help="Folder with a folder per label, or a zip or tar archive.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name. Default: the file's.", show_default=False)
    ] = None,
    metadata: options.Notes = None,
    budget_epsilon: options.BudgetEpsilon = None,
    budget_delta: options.BudgetDelta = None,
    budget_unit: options.Unit = "image",
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Upload a dataset. Run again after an interruption, it uploads nothing twice."""
    notes = options.pairs(metadata)
    budget = options.privacy(budget_epsilon, budget_delta, budget_unit)
    with connected(url) as client:
        dataset = client.datasets.upload(source, name=name, metadata=notes, privacy_budget=budget)
    if as_json:
        show_json(dataset)
        return
    if dataset.was_there:
        say("it was uploaded before", on_error=True)
    _show(dataset)


def datasets(
    dataset_id: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those with this label.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """List datasets, or show one."""
    with connected(url) as client:
        if dataset_id is not None:
            found = client.datasets.get(dataset_id)
            show_json(found) if as_json else _show(found)
            return
        listed = list(client.datasets.each(label=label, name=name))
    if as_json:
        show_listing(listed)
        return
    rows = [[each.id, each.name, each.num_images, sorted(each.labels)] for each in listed]
    show_table(("id", "name", "images", "labels"), rows)


def _show(dataset: DatasetOut) -> None:
    show_facts(
        [
            ("id", dataset.id),
            ("name", dataset.name),
            ("images", dataset.num_images),
            ("labels", dataset.labels),
            ("splits", dataset.splits or None),
            ("duplicates", dataset.duplicates or None),
            ("rejected", dataset.num_rejected or None),
            *(("  " + each.path, each.reason) for each in dataset.rejected[:FEW]),
            *(("warning", warning) for warning in dataset.warnings),
        ]
    )
