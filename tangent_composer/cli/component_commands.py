"""`tangent train`, `wait` and `components`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json, show_listing, show_table
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.terminal import say

if TYPE_CHECKING:
    from tangent_composer import Client


def register(program: typer.Typer) -> None:
    """Add the commands."""
    for command in (train, wait, components):
        program.command(rich_help_panel=PANEL)(command)


def train(
    dataset: Annotated[
        str, typer.Argument(help="Id of a dataset, or a folder or archive to upload first.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name. Default: the dataset's.", show_default=False)
    ] = None,
    space: options.Space = None,
    settings: options.Settings = None,
    seed: Annotated[int | None, typer.Option(help="Seed. Default: 0.", show_default=False)] = None,
    epsilon: options.Epsilon = None,
    delta: options.Delta = None,
    unit: options.Unit = "image",
    metadata: options.Notes = None,
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is ready.")] = True,
    timeout: options.Timeout = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Train a component. Run again after an interruption, it trains nothing twice."""
    given: dict[str, Any] = {
        "name": name,
        "space": space,
        "hyperparameters": options.values(settings),
        "seed": seed,
        "metadata": options.pairs(metadata),
        "privacy": options.privacy(epsilon, delta, unit),
    }
    with connected(url) as client:
        component: ComponentOut = client.components.train(_dataset(client, dataset), **given)
        if waits:
            component = _waited(client, component.id, timeout)
    show_json(component) if as_json else _show(component)


def wait(
    component_id: Annotated[str, typer.Argument(help="Id of the component.")],
    timeout: options.Timeout = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Wait until a component is ready; the exit status is 1 if its training fails."""
    with connected(url) as client:
        component = _waited(client, component_id, timeout)
    show_json(component) if as_json else _show(component)


def components(
    component_id: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those with this label.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those of this status.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those trained from it.")] = None,
    space: options.Space = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """List components, or show one."""
    with connected(url) as client:
        if component_id is not None:
            found = client.components.get(component_id)
            show_json(found) if as_json else _show(found)
            return
        asked = {"label": label, "name": name, "status": status, "space": space}
        listed = list(client.components.each(**asked, dataset_id=dataset))
    if as_json:
        show_listing(listed)
        return
    rows = [
        [each.id, each.name, each.space, each.status, *_accuracy(each), each.labels]
        for each in listed
    ]
    heads = ("id", "name", "space", "status", "held-out accuracy", "measured by", "labels")
    show_table(heads, rows)


def _dataset(client: "Client", given: str) -> str:
    """Return the id of a dataset, which is uploaded if a file or folder is given."""
    if given.startswith("ds_") and not Path(given).exists():
        return given
    return client.datasets.upload(given).id


def _waited(client: "Client", component_id: str, timeout: float | None) -> ComponentOut:
    try:
        return client.components.wait(component_id, timeout=timeout)
    except KeyboardInterrupt:
        say(f"the training goes on: tangent wait {component_id}", on_error=True)
        raise


def _accuracy(component: ComponentOut) -> tuple[Any, str | None]:
    """Return the accuracy on held-out images, and who measured it: nobody checks a party's."""
    accuracy = component.metrics.get("holdout_accuracy")
    return accuracy, None if accuracy is None else component.metrics_by or "unknown"


def _show(component: ComponentOut) -> None:
    smallest, (accuracy, measurer) = component.smallest_label, _accuracy(component)
    unit = component.privacy.unit if component.privacy else "image"
    show_facts(
        [
            ("id", component.id),
            ("name", component.name),
            ("space", component.space),
            ("status", component.status),
            ("labels", component.images),
            ("held-out accuracy", accuracy),
            ("measured by", measurer),
            ("dataset", component.dataset_id),
            ("sha256", component.sha256),
            ("smallest label", smallest and f"{smallest.label}, {smallest.images} {unit}s"),
            ("error", component.error and component.error.detail),
        ]
    )
