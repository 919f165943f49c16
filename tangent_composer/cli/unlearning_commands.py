"""`tangent preview`, `unlearn`, `find` and `receipts`."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json, show_listing, show_table
from tangent_composer.cli.refusal import Refusal
from tangent_composer.schemas.previews import DatasetPreviewOut, PreviewOut
from tangent_composer.terminal import clean

SHA256 = re.compile(r"[0-9a-f]{64}")


def register(program: typer.Typer) -> None:
    """Add the commands."""
    for command in (preview, unlearn, find):
        program.command(rich_help_panel=PANEL)(command)


def preview(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of a component or a dataset.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="Of a component: id of a dataset to show changed answers on."),
    ] = None,
    split: options.Split = None,
    image: Annotated[
        str | None, typer.Option(help="Of a dataset: id of the one image to be deleted.")
    ] = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Show what deleting a component, a dataset or an image would change; nothing is changed."""
    is_dataset = id_.startswith("ds_")
    if is_dataset and (dataset or split):
        raise Refusal("--dataset and --split show answers without a component: give its id")
    if image and not is_dataset:
        raise Refusal("--image names an image of a dataset: give the dataset's id before it")
    with connected(url) as client:
        found: PreviewOut | DatasetPreviewOut
        if not is_dataset:
            found = client.preview(id_, dataset_id=dataset, split=split)
        elif image:
            found = client.datasets.preview_image(id_, image)
        else:
            found = client.datasets.preview(id_)
    if as_json:
        show_json(found)
        return
    show_facts(_of_component(found) if isinstance(found, PreviewOut) else _of_dataset(found))


def _of_component(found: PreviewOut) -> list[tuple[str, Any]]:
    answers, held = found.answers, found.also_held
    return [
        ("component", found.component_id),
        ("derived from it", found.derived or None),
        ("labels gone", found.labels_gone or None),
        ("compositions", [each.name for each in found.compositions] or None),
        ("evaluations that go", found.evaluations or None),
        ("batch predictions that go", found.batch_predictions or None),
        ("also held", [f"{each.dataset_id}: {each.images}" for each in held.datasets] or None),
        ("the same file", held.components or None),
        ("cannot be looked into", held.cannot_be_looked_into or None),
        ("images of the dataset", answers and answers.num_images),
        ("of another label then", answers and answers.flipped),
        ("accuracy now", answers and answers.accuracy_before),
        ("accuracy then", answers and answers.accuracy_after),
        ("trained on", (answers and answers.trained_on) or None),
        ("note", answers and answers.note),
    ]


def _of_dataset(found: DatasetPreviewOut) -> list[tuple[str, Any]]:
    return [
        ("dataset", found.dataset_id),
        ("image", found.image_id),
        ("images that go", found.num_images),
        ("components", [f"{each.id}: {each.outcome}" for each in found.components] or None),
        (
            "labels gone",
            [f"{each.space}: {', '.join(each.labels)}" for each in found.labels_gone] or None,
        ),
        ("compositions", [each.name for each in found.compositions] or None),
        ("evaluations that go", found.evaluations or None),
        ("batch predictions that go", found.batch_predictions or None),
        ("also held", [f"{each.dataset_id}: {each.images}" for each in found.also_held] or None),
    ]


def unlearn(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of a component or a dataset.")],
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Of a dataset: also what was trained from it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Delete a component or a dataset, so that answers are as if it had never been there."""
    if not yes:
        if not sys.stdin.isatty():
            raise Refusal(f"{id_} would be deleted for good: give --yes where nobody can be asked")
        typer.confirm(f"Delete {clean(id_)} for good?", abort=True, err=True)
    with connected(url) as client:
        receipt = client.unlearn(id_, cascade=cascade)
    if as_json:
        show_json(receipt)
        return
    show_facts([("receipt", receipt.id), ("number", receipt.number), ("hash", receipt.hash)])


def find(
    image: Annotated[str, typer.Argument(help="Image file, or the SHA-256 of one.")],
    distance: Annotated[
        int | None, typer.Option(help="Most bits of 144 by which another may differ.")
    ] = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Find an image, and those that look like it, in what holds them."""
    is_hash = SHA256.fullmatch(image) is not None
    if is_hash and distance is not None:
        raise Refusal("--distance is of images that look like one: give the image's file")
    heads = ("distance", "image", "label", "dataset", "components")
    with connected(url) as client:
        if is_hash:
            held = list(client.images.each(image))
            if as_json:
                show_listing(held)
                return
            rows = [[0, each.path, each.label, each.dataset_id, each.components] for each in held]
        else:
            found = client.find(Path(image), distance=distance)
            if as_json:
                show_json(found)
                return
            near = [(each.distance, each) for each in found.near]
            rows = [
                [far, each.path, each.label, each.dataset_id, each.components]
                for far, each in (*((0, exact) for exact in found.exact), *near)
            ]
    show_table(heads, rows)
