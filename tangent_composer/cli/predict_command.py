"""`tangent predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_json, show_table

if TYPE_CHECKING:
    from tangent_composer.client.predictions import Predictions


PLACES = 4  # of a probability


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command(rich_help_panel=PANEL)(predict)


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    composition: options.Composition = None,
    components: options.Components = None,
    space: options.Space = None,
    rule: options.RuleName = None,
    top_k: Annotated[int, typer.Option(help="Most labels of an image.", min=1)] = 5,
    abstain_above: Annotated[
        float | None,
        typer.Option(
            callback=options.finite, help="No label for images of a higher novelty, as 0.99."
        ),
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(callback=options.finite, help="No label for images of a lower margin."),
    ] = None,
    calibration_dataset: options.CalibrationDataset = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Ask for the labels of images; the exit status is 1 if none could be answered."""
    chosen, by = options.weighted(components), options.rule(rule)
    with connected(url) as client:
        found = client.predict(
            images,
            composition=composition,
            components=chosen,
            space=space,
            rule=by,
            top_k=top_k,
            abstain_above=abstain_above,
            abstain_below=abstain_below,
            calibration_dataset=calibration_dataset,
        )
    show_json(_answer(found)) if as_json else _show(found)
    if all(each.error is not None for each in found.results):
        raise typer.Exit(1)


def _answer(found: "Predictions") -> dict[str, Any]:
    """Return all results as one answer of the API, with the images' names beside."""
    whole = found.answers[0].model_copy(update={"results": list(found.results)})
    shown = whole.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return shown | {"images": found.names}


def _show(found: "Predictions") -> None:
    show_table(("image", "label", "probability", "next", "novelty"), _rows(found))


def _rows(found: "Predictions") -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, result in zip(found.names, found.results, strict=True):
        if result.error is not None:
            rows.append([name, result.error.detail, None, None, None])
            continue
        ranked = result.predictions or []
        label = result.label if result.abstention is None else f"none ({result.abstention.by})"
        others = {each.label: _rounded(each.probability or 0.0) for each in ranked[1:3]}
        best = _rounded(ranked[0].probability or 0.0) if ranked else None
        rows.append([name, label, best, others, result.novelty])
    return rows


def _rounded(probability: float) -> float:
    """Return the probability with few places; less than 1 stays less."""
    rounded = round(probability, PLACES)
    return rounded if probability >= 1 else min(rounded, 1 - 10**-PLACES)
