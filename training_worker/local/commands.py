"""The commands of a machine without the service, as plain values in and out.

`tangent fit` and `tangent what-leaves` call these, in a process where torch may be loaded.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.errors import Invalid, Problem
from tangent.components.disclosure import disclosed
from tangent.errors import TangentError
from tangent_composer import metrics_file
from training_worker.local.images import Bounds
from training_worker.local.training import (
    LocalTraining,
    check_counts,
    leave_out_statistics,
    train,
)


class Refused(Exception):
    """A command cannot do what it was asked to; the message says why and what to do."""

    def __init__(self, code: str, detail: str, rejected: list[dict[str, str]]) -> None:
        super().__init__(detail)
        self.code, self.rejected = code, rejected


def fit(
    card: Path,
    data: Path,
    output: Path,
    *,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
    bounds: Mapping[str, float] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a component by `LocalTraining`; return `LocalComponent`, with the smallest label.

    Raises:
        Refused: nothing was written.
    """
    with _refusals():
        raised = Bounds.given(dict(bounds or {}))
        made = train(LocalTraining(card, data, output, bounds=raised, **settings), report)
        told = disclosed(output)
        smallest = {"label": told.smallest_label, "images": told.smallest_images}
        return asdict(made) | {"smallest_label": smallest, "tells": told.warnings}


def what_leaves(
    component: Path, *, min_per_label: int = 0, without_statistics: Path | None = None
) -> dict[str, Any]:
    """Return all that leaves with a component's file and its metrics, in words.

    without_statistics: where to write the file without statistics; then that one is told of.

    Raises:
        Refused: it is no component's file, or has a label with fewer images than wanted.
    """
    with _refusals():
        if without_statistics is not None:
            if not without_statistics.name or without_statistics.is_dir():
                why = f"{str(without_statistics)!r} is a folder: name a file to write"
                raise Invalid("bad_setting", why)
            disclosed(component)  # it is a component's file
            measured = metrics_file.read(component)
            sha256, _ = leave_out_statistics(component, without_statistics)
            if measured is not None:
                metrics_file.write(without_statistics, sha256, measured)
            component = without_statistics
        told = disclosed(component)
        if told.privacy is None and told.smallest_label is not None:
            check_counts(told.labels, min_per_label)
        measured = metrics_file.read(component)
        return asdict(told) | {"metrics": measured}


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        rejected = problem.extra.get("rejected", [])
        raise Refused(problem.code, problem.detail, rejected) from problem
    except TangentError as error:
        raise Refused(error.code, str(error), []) from error
    except metrics_file.BadMetrics as error:
        raise Refused("bad_metrics", str(error), []) from error
    except UnicodeEncodeError as error:
        why = f"{error.object!a} is not in UTF-8: rename the file, or write it in UTF-8"
        raise Refused("not_utf8", why, []) from error
    except OSError as error:
        where = f"{error.filename!r}: " if error.filename else ""
        raise Refused("file_unusable", f"{where}{error.strerror or error}", []) from error
