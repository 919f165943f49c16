"""The steps at which the battery halts a service: for good with kill -9, or with SIGSTOP."""

import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

SETTLE, SETTLED = "app.files.intents:Intent.settle", "app.files.intents:Intent.note_settled"
ENQUEUE = "app.database.jobs:Jobs.enqueue"
PUT, DELETE = "app.files.blobs:LocalBlobs.put", "app.files.blobs:LocalBlobs.delete"
APPLY, FINISH = "app.unlearning.unlearn:apply", "app.unlearning.cleanup:finish"
ERASE = "app.files.erasure:erase"


class Step(NamedTuple):
    """A moment of a request: before or after a call of one function."""

    name: str
    act: str  # the request, as benchmarks.battery.party names it
    moment: str
    place: str


STEPS = (
    Step("an upload, before its file is in place", "upload", "before", PUT),
    Step("an upload, after its file is in place", "upload", "after", PUT),
    Step("an upload, before its commit", "upload", "after", SETTLE),
    Step("an upload, after its commit", "upload", "before", SETTLED),
    Step("a training, queued but not committed", "train", "after", ENQUEUE),
    Step("a deletion, before its commit", "delete", "after", APPLY),
    Step("a deletion, after its commit", "delete", "before", FINISH),
    Step("a deletion, after its first file is gone", "delete", "after", DELETE),
    Step("a deletion, before its answer", "delete", "after", FINISH),
    Step("an image's removal, before its commit", "delete image", "after", APPLY),
    Step("an image's removal, before its bytes are erased", "delete image", "before", ERASE),
    Step("an image's removal, after its bytes are erased", "delete image", "after", ERASE),
)


def order(orders: Path, name: str, step: Step) -> None:
    """Have the process that obeys this file halt by the signal of that name at the step, once."""
    draft = orders.with_suffix(".draft")
    draft.write_text(f"{name} {step.name}")
    draft.replace(orders)


def obey(orders: Path) -> None:
    """Let this process halt at the steps that the file will name."""
    for step in STEPS:
        module, _, path = step.place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, _halting(step, getattr(owner, name), orders))


def _halting(step: Step, function: Callable[..., Any], orders: Path) -> Callable[..., Any]:
    def act(*arguments: Any, **options: Any) -> Any:
        if step.moment == "before":
            _halt_if_ordered(step, orders)
        done = function(*arguments, **options)
        if step.moment == "after":
            _halt_if_ordered(step, orders)
        return done

    return act


def _halt_if_ordered(step: Step, orders: Path) -> None:
    try:
        name, _, where = orders.read_text().partition(" ")
    except FileNotFoundError:
        return
    if where == step.name:
        orders.unlink()
        os.kill(os.getpid(), getattr(signal, name))
