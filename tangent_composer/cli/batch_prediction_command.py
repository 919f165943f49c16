"""`tangent batch-predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json
from tangent_composer.cli.refusal import Refusal

if TYPE_CHECKING:
    from tangent_composer.client.blocking.batch_predictions import BatchPrediction

DATASET = "ds_"  # how the id of a dataset begins


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command("batch-predict", rich_help_panel=PANEL)(batch_predict)


def batch_predict(
    source: Annotated[
        str, typer.Argument(help="An archive, a folder of images, or the id of a dataset.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: CSV by its ending, else lines.")
    ],
    composition: options.Composition = None,
    components: options.Components = None,
    space: options.Space = None,
    rule: options.RuleName = None,
    split: options.Split = None,
    top_k: Annotated[int, typer.Option(help="Most labels in a line.", min=1, max=100)] = 5,
    timeout: options.Timeout = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Write the labels of many images to a file, computed by the service in the background.

    The job goes on if the command is interrupted.
    """
    of_dataset = _is_dataset(source, split)
    chosen: dict[str, Any] = {
        "composition": composition,
        "components": options.weighted(components),
        "space": space,
        "rule": options.rule(rule),
        "top_k": top_k,
    }
    with connected(url) as client:
        jobs = client.batch_predictions
        if of_dataset:
            started = jobs.start_dataset(source, split=split, **chosen)
        else:
            started = jobs.start(source, **chosen)
        done = started.wait(timeout=timeout)
        done.save(output)
    show_json(done) if as_json else _show(done, output)


def _is_dataset(source: str, split: str | None) -> bool:
    """Return whether the source is the id of a dataset.

    Raises:
        Refusal: a split is named, and it is none.
    """
    is_id = source.startswith(DATASET) and not Path(source).exists()
    if split is not None and not is_id:
        raise Refusal("--split chooses images of a dataset: give the id of a dataset")
    return is_id


def _show(done: "BatchPrediction", output: Path) -> None:
    archive = done.archive
    show_facts(
        [
            ("id", done.id),
            ("images", done.progress.total),
            ("with an error", done.num_errors or None),
            ("files without a line", archive.num_rejected or None if archive else None),
            ("written to", output),
        ]
    )
