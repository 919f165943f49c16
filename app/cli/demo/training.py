"""Progress bars for components in training, drawn from the service's events."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.cli.demo.client import Client, Json

PAUSE = 0.2  # seconds between two requests for events
SILENCE = 300.0  # seconds without any event after which the demo gives up
FINISHED = ("ready", "failed", "cancelled")


class TrainingFailed(Exception):
    """A component did not become ready; the message quotes the service's reason."""


def bars(console: Console) -> Progress:
    """Return a progress display: a bar, a state and a time per task."""
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
    )


def wait(client: Client, components: Mapping[str, str], console: Console) -> None:
    """Wait until all components (id -> name to show) are ready.

    Raises:
        TrainingFailed: a training failed or was cancelled, or no event came for too long.
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
                raise TrainingFailed(
                    f"no training event for {SILENCE:.0f} s: check that a worker is running"
                )
            time.sleep(PAUSE if waiting else 0)


def _show(progress: Progress, task: TaskID, event: Json) -> str:
    """Draw one event; return the new status, or an empty string if only progress was made."""
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
        state = "ready" if accuracy is None else f"ready, {accuracy:.1%} of its own images correct"
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
            f"component {name} is {data['status']}: {error.get('detail', 'no reason given')}"
        )
