"""`tangent batch-predict`."""

from collections.abc import Iterator
from contextlib import contextmanager
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

    The job goes on if the command is interrupted. The exit status is 1 if no image has labels.
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
        _check_place(output)
        if of_dataset:
            started = client.batch_predictions.start_dataset(source, split=split, **chosen)
        else:
            started = client.batch_predictions.start(source, **chosen)
        with _named(started.id):
            done = started.wait(timeout=timeout)
            done.save(output)
    show_json(done) if as_json else _show(done, output)
    raise typer.Exit(0 if done.num_errors < done.progress.total else 1)


def _check_place(output: Path) -> None:
    """Check that the file can be written, before anything is sent."""
    from tangent_composer.client.downloads import check_place

    check_place(output)


@contextmanager
def _named(job_id: str) -> Iterator[None]:
    """Name the job where the command ends without its results, which the service keeps.

    Raises:
        Refusal: they cannot be waited for, fetched or written.
    """
    from tangent_composer.client.errors import Failed, TangentError

    try:
        yield
    except Failed:  # there are none
        raise
    except (TangentError, OSError) as error:
        raise Refusal(
            f"{error}; the service has the batch prediction {job_id}, and its results under GET "
            f"/v1/batch-predictions/{job_id}/results once it is ready"
        ) from None


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
