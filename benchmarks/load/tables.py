"""The measurement's tables: every cell, then the figures that have a reach."""

from statistics import median
from typing import Any

from benchmarks.load.ratios import figures

Document = dict[str, Any]
HEAD = ["", "images/s", "p50 ms", "p95 ms", "p99 ms", "refused", "errors", "CPU ms a request"]
FIGURES = ["", "measured", "reach", "", "bare front", "bound"]
PARTS_HEAD = ["8 clients, one thread for each forward pass", "CPU ms a request"]
PARTS = {
    "loop": "the API's event loop: HTTP, key, selection, lease, answer",
    "threads": "the API's other threads: orders to decode workers, messages to the engine",
    "messages": "the engine's thread for messages",
    "batches": "the engine's other threads, less what the bare engine takes for the same batches",
}


def cells(document: Document) -> list[list[str]]:
    """Return a row for each cell that was measured: medians over the rounds, errors summed."""
    return [_row(name, found) for name, found in document["readings"].items() if found]


def _row(name: str, found: list[dict[str, Any]]) -> list[str]:
    batch = found[-1].get("batch")
    served = "errors" in found[-1]
    wrong = [f"{n} × {kind}" for kind, n in _summed(found).items()]
    return [
        f"{name}, batches of {batch}" if batch else name,
        _middle(found, "images_per_second"),
        *(_middle(found, key) for key in ("p50", "p95", "p99")),
        str(sum(each["refused"] for each in found)) if served else "",
        (", ".join(wrong) or "0") if served else "",
        _middle(found, "cpu_ms"),
    ]


def _summed(found: list[dict[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in found:
        for kind, count in each.get("errors", {}).items():
            total[kind] = total.get(kind, 0) + count
    return total


def _middle(found: list[dict[str, Any]], key: str) -> str:
    values = [each[key] for each in found if each.get(key) is not None]
    return f"{median(values):.3g}" if values else ""


def reaches(document: Document) -> list[list[str]]:
    """Return a row for each figure with a reach."""
    return [figure.row for figure in figures(document)]


def parts(document: Document) -> list[list[str]]:
    """Return a row for each part of a request's processor time, beside decoding and forward."""
    found = document["extras"].get("processor", {}).get("parts_ms", {})
    return [[PARTS[name], f"{took:.3g}"] for name, took in found.items()]


def reached(document: Document) -> list[list[str]]:
    """Return the table of the figures with a reach, its head first."""
    return [FIGURES, *reaches(document)]


def complete(document: Document) -> list[list[list[str]]]:
    """Return all tables, each with its head: cells, figures with a reach, parts."""
    made = [[HEAD, *cells(document)], reached(document)]
    return [*made, [PARTS_HEAD, *parts(document)]]


def conditions(document: Document) -> str:
    """Return the sentence on machine, rounds and images."""
    shares = [
        each.get("sender_share", 0.0) for found in document["readings"].values() for each in found
    ]
    return (
        f"{document['machine']}; medians of {document['rounds']} rounds of "
        f"{document['seconds']:g} s a cell, {document['photographs']}; the process that sends "
        f"took at most {100 * max(shares, default=0.0):.0f} % of a core"
    )
