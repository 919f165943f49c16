"""Metrics of a training beside the component's file: `north.safetensors` has `north.metrics.json`.

They are no part of the file, whose bytes and hash say what was trained and from what alone. They
name the file by its hash, so that they are not taken for another one's.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

FORMAT = 1
MAX_BYTES = 2**16


class BadMetrics(ValueError):
    """A file of metrics that cannot be used; the message says why and what to do."""


def path_of(component: Path) -> Path:
    """Return the place of the metrics of a component's file."""
    return component.with_suffix(".metrics.json")


def write(component: Path, sha256: str, metrics: dict[str, Any]) -> Path:
    """Write the metrics of a component's file of this SHA-256; return their file."""
    about = {"format": FORMAT, "sha256": sha256, "metrics": metrics}
    path = path_of(component)
    path.write_text(json.dumps(about, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return path


def read(component: Path) -> dict[str, Any] | None:
    """Return the metrics beside a component's file; None if there are none.

    Raises:
        BadMetrics: they are not readable, or of another file.
    """
    path = path_of(component)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            about = json.loads(file.read(MAX_BYTES))
        metrics, sha256 = about["metrics"], about["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{path} holds no metrics of a component: remove it, or train again"
        raise BadMetrics(why) from error
    with component.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != found or not isinstance(metrics, dict):
        raise BadMetrics(
            f"{path} is of another file, {str(sha256)[:12]}…, than {component}, {found[:12]}…: "
            "remove it",
        )
    return metrics
