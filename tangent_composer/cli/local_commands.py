"""`tangent space get`, `fit`, `what-leaves` and `import`: training where the data lies.

`fit` and `what-leaves` talk to no service; they need the extra `fit`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tangent_composer import bundled
from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.output import show_facts, show_json, show_table
from tangent_composer.cli.refusal import Refusal
from tangent_composer.client.progress import Report, Step, shown
from tangent_composer.terminal import one_line, say

PANEL = "Train where the data lies (extra `fit`)"
FEW = 10  # images of a label, below which a command says so
Component = Annotated[Path, typer.Argument(help="A component's safetensors file.")]
MinPerLabel = Annotated[
    int, typer.Option(help="Refuse a label of fewer training images.", show_default=False)
]
Card = Annotated[Path, typer.Option(help="Card of the space, from `tangent space get`.")]
Data = Annotated[Path, typer.Option(help="Folder, zip or tar of images, as for an upload.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Mechanism = Annotated[
    str | None,
    typer.Option(help="class_sums or adassp, with --epsilon. Default: class_sums."),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Public label, with --epsilon; repeat.")
]
Statistics = Annotated[
    bool, typer.Option("--statistics/--without-statistics", help="Sums that rule joint needs.")
]
Metrics = Annotated[bool, typer.Option(help="Write metrics beside the file.")]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=NUMBER", help="Bound of the data; repeat for more."),
]
CodePage = Annotated[str | None, typer.Option(help="Of file names that are not marked as UTF-8.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 … or auto.")]
Threads = Annotated[int, typer.Option(help="Threads of torch; 0: torch chooses.")]
Scratch = Annotated[
    Path | None, typer.Option(help="Folder for copies. Default: that of the output.")
]
COMPONENT, CARD = Path("component.safetensors"), Path("space.card")


def register(program: typer.Typer) -> None:
    """Add the commands."""
    space = typer.Typer(help="Spaces of a service.", no_args_is_help=True)
    space.command()(get)
    program.add_typer(space, name="space", rich_help_panel=PANEL)
    for name, command in (("fit", fit), ("what-leaves", what_leaves), ("import", import_)):
        program.command(name, rich_help_panel=PANEL)(command)


def get(
    name: Annotated[str, typer.Argument(help="Name of the space.")] = "default",
    output: Output = CARD,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Get the card of a space: all that a machine needs to train for it."""
    with connected(url) as client:
        file = client.spaces.card(name, output)
    about = {"file": str(file), "space": name, "bytes": file.stat().st_size}
    show_json(about) if as_json else show_facts(about.items())


def fit(
    space: Card,
    data: Data,
    output: Output = COMPONENT,
    settings: options.Settings = None,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    epsilon: options.Epsilon = None,
    delta: options.Delta = None,
    unit: options.Unit = "image",
    mechanism: Mechanism = None,
    labels: Labels = None,
    min_per_label: MinPerLabel = 0,
    statistics: Statistics = True,
    metrics: Metrics = True,
    limits: Limits = None,
    code_page: CodePage = None,
    device: Device = "cpu",
    threads: Threads = 0,
    scratch: Scratch = None,
    as_json: options.Json = False,
) -> None:
    """Train a component on this machine, to the bytes that the service would train."""
    terms = options.privacy(epsilon, delta, unit)
    if terms is None and mechanism is not None:
        raise Refusal(f"mechanism {mechanism} is a way to keep an epsilon: give --epsilon too")
    given = {
        "hyperparameters": options.values(settings) or {},
        "privacy": terms and terms | ({"mechanism": mechanism} if mechanism else {}),
        "labels": tuple(labels or ()),
        "bounds": options.values(limits),
    }
    places = {"code_page": code_page, "device": device, "threads": threads, "scratch": scratch}
    wanted = {"min_per_label": min_per_label, "statistics": statistics, "metrics": metrics}
    with shown("auto", "training") as told:
        more = {"seed": seed, "report": _reporter(told)} | given | places | wanted
        made = _bundled("fit", space, data, output, **more)
    show_json(made) if as_json else _show_trained(made)


def what_leaves(
    component: Component,
    min_per_label: MinPerLabel = 0,
    without_statistics: Annotated[
        Path | None, typer.Option(help="Write the file without statistics here.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say in words all that leaves with a file; exit status 1 if a label is too small."""
    told = _bundled(
        "what_leaves",
        component,
        min_per_label=min_per_label,
        without_statistics=without_statistics,
    )
    show_json(told) if as_json else _show_disclosure(told)


def import_(
    component: Component,
    name: Annotated[str | None, typer.Option(help="Name. Default: the file's.")] = None,
    metrics: Annotated[bool, typer.Option(help="Send the metrics beside the file.")] = True,
    allow_duplicate: Annotated[
        bool, typer.Option(help="Also if the space has this file already.")
    ] = False,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Import a component into a service. Run again, it imports nothing twice."""
    measured = _metrics_of(component) if metrics else None
    with connected(url) as client:
        made = client.components.import_file(
            component, name=name, metrics=measured, allow_duplicate=allow_duplicate
        )
    if as_json:
        show_json(made)
        return
    show_facts([(each, getattr(made, each)) for each in ("id", "name", "space", "images")])
    _warn(made.warnings)


def _metrics_of(component: Path) -> dict[str, Any] | None:
    """Return the metrics beside a file, if they are its own."""
    from tangent_composer.metrics_file import read

    try:
        return read(component)
    except ValueError as error:
        raise Refusal(str(error)) from None


def _bundled(name: str, *given: Any, **more: Any) -> dict[str, Any]:
    """Return the answer of a command of `training_worker.local.commands`."""
    try:
        commands = bundled.load("training_worker.local.commands", "fit")
    except bundled.NotInstalled as error:
        raise Refusal(str(error)) from None
    try:
        answer: dict[str, Any] = getattr(commands, name)(*given, **more)
    except commands.Refused as error:
        for each in error.rejected[:FEW]:
            say(f"  {each['path']}: {each['reason']}", on_error=True)
        if error.code == "too_few_images":
            say(f"tangent: {one_line(error)}", on_error=True)
            raise typer.Exit(1) from None
        raise Refusal(str(error)) from None
    return answer


def _reporter(told: Report) -> Callable[[dict[str, Any]], None]:
    """Return a function that shows each step of a training."""

    def report(step: dict[str, Any]) -> None:
        told(Step(step["step"], step["total"] or None, step["phase"]))

    return report


def _show_trained(made: dict[str, Any]) -> None:
    metrics, smallest = made["metrics"], made["smallest_label"]
    unit = made["privacy"]["unit"] if made["privacy"] else "image"
    fewest = smallest["label"] and f"{smallest['label']}, {smallest['images']} {unit}s"
    show_facts(
        [
            *((each, made[each]) for each in ("file", "sha256", "bytes", "space", "labels")),
            ("rejected", made["num_rejected"] or None),
            ("duplicates", made["duplicates"] or None),
            ("held-out accuracy", metrics.get("holdout_accuracy")),
            ("smallest label", fewest),
            ("metrics", made["metrics_file"]),
        ]
    )
    for each in made["rejected"][:FEW]:
        say(f"  rejected {each['path']}: {each['reason']}", on_error=True)
    if not made["same_bits"]:
        say("this machine rounds otherwise than the service: other bytes, as good", on_error=True)
    _warn([*made["warnings"], *made["tells"]])


def _show_disclosure(told: dict[str, Any]) -> None:
    rows = [(each["name"], each["bytes"] or "", each["words"]) for each in told["tensors"]]
    rows += [(each["name"], "", each["words"]) for each in told["metadata"]]
    rows += [("labels", "", told["labels"])]
    if told["metrics"]:
        rows += [("metrics, in a file beside", "", told["metrics"])]
    show_table(("leaves", "bytes", "what it is"), rows)
    _warn(told["warnings"])


def _warn(warnings: Sequence[str]) -> None:
    for each in warnings:
        say(f"note: {each}", on_error=True)
