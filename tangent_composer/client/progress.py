"""Progress of uploads, predictions and waits: on a terminal, in a notebook, or to a function.

with shown("auto", "training north") as report:
report(Step(done=3, total=12))
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import import_module
from typing import Any, Literal

from tangent_composer.terminal import clean

Report = Callable[["Step"], object]
Shown = Literal["auto"] | bool | Report  # True: always; auto: on a terminal and in notebooks


@dataclass(frozen=True)
class Step:
    """The progress of a piece of work."""

    done: float = 0
    total: float | None = None  # None: not known
    note: str = ""


@contextmanager
def shown(progress: Shown, title: str) -> Iterator[Report]:
    """Yield a function that takes each step and shows it until the block ends."""
    if callable(progress):
        yield progress
    elif progress is False:
        yield lambda step: None
    elif _in_notebook():
        with _notebook_bar(title) as report:
            yield report
    elif progress is True or sys.stderr.isatty():
        with _terminal_bar(title) as report:
            yield report
    else:
        yield lambda step: None


@contextmanager
def _terminal_bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = partial(TextColumn, markup=False)
    columns = (text("{task.description}"), BarColumn(), text("{task.fields[note]}"))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        task = bars.add_task(clean(title), total=None, note="")

        def report(step: Step) -> None:
            bars.update(task, completed=step.done, total=step.total, note=clean(step.note))

        yield report


@contextmanager
def _notebook_bar(title: str) -> Iterator[Report]:
    ipython: Any = import_module("IPython.display")

    def bar(step: Step) -> Any:
        value = f' value="{step.done}" max="{step.total}"' if step.total else ""
        return ipython.HTML(f"{escape(title)} <progress{value}></progress> {escape(step.note)}")

    handle = ipython.display(bar(Step()), display_id=True)
    yield lambda step: handle.update(bar(step))
    handle.update(ipython.HTML(f"{escape(title)} ✓"))


def _in_notebook() -> bool:
    """Return whether this is a notebook's kernel; an IPython terminal is none."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return type(shell).__name__ == "ZMQInteractiveShell"
