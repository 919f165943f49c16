"""Progress bars of components in training, drawn from the events that the service sends."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.demo.client import Client, Json

PAUSE = 0.2  # seconds between two looks at the events
SILENCE = 300.0  # seconds without any event after which waiting makes no sense
FINISHED = ("ready", "failed", "cancelled")


class TrainingFailed(Exception):
    """A component did not become ready; the message has the service's own reason."""


def bars(console: Console) -> Progress:
    """A progress display with a bar, a state and the time of each thing."""
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
    )


def wait(client: Client, components: Mapping[str, str], console: Console) -> None:
    """Return when all components (id -> what to call it) are ready.

    Raises:
        TrainingFailed: one ended otherwise, or nothing happened for too long.
    """
    seen, heard = dict.fromkeys(components, 0), time.monotonic()
    with bars(console) as progress:
        tasks = {
            component_id: progress.add_task(name, total=None, state="queued", start=False)
            for component_id, name in components.items()
        }
        waiting = set(components)
        while waiting:
            for component_id in sorted(waiting):
                for event in client.events(component_id, seen[component_id]):
                    seen[component_id], heard = event["id"], time.monotonic()
                    if _show(progress, tasks[component_id], event) in FINISHED:
                        waiting.discard(component_id)
                        _require_ready(event, components[component_id])
            if time.monotonic() - heard > SILENCE:
                raise TrainingFailed(f"no training event for {SILENCE:.0f} s: does a worker run?")
            time.sleep(PAUSE if waiting else 0)


def _show(progress: Progress, task: TaskID, event: Json) -> str:
    """Draw one event; the status that it brings, empty for a step forward."""
    data = event["data"]
    if event["type"] == "progress":
        progress.update(task, completed=data["step"], total=data["total"], state="training")
        return ""
    status = data["status"]
    if status == "training":
        progress.start_task(task)
    if status == "ready":
        total = progress.tasks[task].total or 1
        accuracy = data.get("metrics", {}).get("train_accuracy")
        state = "ready" if accuracy is None else f"ready, {accuracy:.1%} of its own images right"
        progress.update(task, completed=total, total=total, state=state)
        progress.stop_task(task)
    else:
        progress.update(task, state=status)
    return status


def _require_ready(event: Json, name: str) -> None:
    data = event["data"]
    if data["status"] != "ready":
        error = data.get("error") or {}
        raise TrainingFailed(
            f"component {name} is {data['status']}: {error.get('detail', 'no reason')}"
        )
