"""`tangent evaluate` and `tangent compare`."""

from typing import Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json, show_table
from tangent_composer.terminal import say

SELECTION = "A composition's name, or components: cmp_1,cmp_2 or cmp_1=0.7,cmp_2=0.3."


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.command(rich_help_panel=PANEL)(evaluate)
    program.command(rich_help_panel=PANEL)(compare)


def evaluate(
    dataset_id: Annotated[str, typer.Argument(help="Id of the dataset.")],
    composition: options.Composition = None,
    components: options.Components = None,
    space: options.Space = None,
    rule: options.RuleName = None,
    split: options.Split = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Measure how often answers to a dataset are right."""
    chosen, by = options.weighted(components), options.rule(rule)
    with connected(url) as client:
        found = client.evaluate(
            dataset_id,
            composition=composition,
            components=chosen,
            space=space,
            rule=by,
            split=split,
        )
    if as_json:
        show_json(found)
        return
    show_facts(
        [
            ("id", found.id),
            ("rule", found.rule),
            ("images", found.num_images),
            ("accuracy", found.accuracy),
            ("trained on", found.trained_on or None),
            ("note", found.note),
        ]
    )
    results = (found.labels or {}).items()
    rows = [[label, each.images, each.correct, each.accuracy] for label, each in results]
    show_table(("label", "images", "correct", "accuracy"), rows)


def compare(
    dataset_id: Annotated[str, typer.Argument(help="Id of the dataset.")],
    before: Annotated[str, typer.Option(help=SELECTION)],
    after: Annotated[str, typer.Option(help=SELECTION)],
    split: options.Split = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Measure two selections on one dataset, side by side."""
    sides = [_selection(text) for text in (before, after)]
    with connected(url) as client:
        found = client.compare(dataset_id, *sides, split=split)
    if as_json:
        parts = {"before": found.before, "after": found.after}
        shown = {name: part.model_dump(mode="json") for name, part in parts.items()}
        changed = [image.model_dump(mode="json") for image in found.changed]
        show_json(shown | {"changed": changed})
        return
    heads = ("label", "images", "before", "after")
    show_table(heads, [[row[head] for head in heads] for row in found.rows()])
    for name, side in (("before", found.before), ("after", found.after)):
        if side.note:
            say(f"note on {name}: {side.note}")
    say(f"{len(found.fixed)} images are right now, {len(found.broken)} are wrong now")


def _selection(text: str) -> dict[str, Any]:
    """Return the arguments of an evaluation for a selection as it is written."""
    if not text.startswith("cmp_"):
        return {"composition": text}
    return {"components": options.weighted(text.split(","))}
