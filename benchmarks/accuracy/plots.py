"""The measurement's charts: accuracy against the number of parties, and cost against it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy import names
from benchmarks.accuracy.lines import Chart
from benchmarks.accuracy.outcome import Record, where
from benchmarks.accuracy.protocols import CLASSES, DATA
from benchmarks.accuracy.reaches import groups, title

FOLDER = Path(__file__).parents[2] / "docs"
SHOWN = {  # (scope, method) -> its name in a chart
    ("head2toe", names.JOINT): "joint, head2toe",
    ("last-block", names.REFINED): "joint, last block, refined",
    ("last-block", names.ONE_SHOT): "joint, last block, one shot",
    ("last-block", names.POOLED): "fine-tuning, pooled images",
    (names.FEATURES, names.RANDOM_PROJECTION): "random projection + ridge",
    (names.FEATURES, names.NEAREST_MEAN): "nearest class mean",
    ("last-block", names.PAPERS_AVERAGE): "average, papers' recipe",
    ("last-block", names.AVERAGE): "average, converged",
    ("last-block", names.SOLVED): "weighted, solved",
    ("last-block", names.SOUP): "soup of fine-tuned",
    ("last-block", names.ENSEMBLES[0]): "ensemble of fine-tuned",
    ("head", names.AVERAGE): "average, head",
}
PARTIES = "parties T"
DRAWN = ("fashion-mnist", "digits+fashion-mnist")  # of the sets of images


def charts(records: Sequence[Record], costs: Mapping[str, Any]) -> dict[str, Chart]:
    """Return the charts by file name without extension."""
    drawn: dict[str, Chart] = {}
    for group in groups(records):
        pictures = group[0].pictures
        if pictures not in DRAWN or not where(group, scope="last-block"):
            continue
        for protocol in (CLASSES, DATA):
            name = f"accuracy-{pictures.replace('+', '-')}-{protocol.split('-')[0]}"
            if found := where(group, protocol=protocol):
                drawn[name] = accuracy(found)
    if costs:
        drawn["cost-answer"] = answers(costs["answer"])
        drawn["cost-composing"] = composing(costs["joint"])
    return drawn


def accuracy(found: Sequence[Record]) -> Chart:
    """Return the chart of accuracy for one set of images under one protocol."""
    places = sorted({record.parties for record in found})
    series: dict[str, dict[int, float]] = {}
    for (scope, method), name in SHOWN.items():
        values = {r.parties: 100 * r.accuracy for r in where(found, scope=scope, method=method)}
        if values:
            series[name] = values
    return Chart(
        f"{title(found[0])}: {found[0].protocol}", PARTIES, "test accuracy, %", places, series
    )


def answers(measured: Mapping[str, Any]) -> Chart:
    """An answer's cost in plain passes of the backbone."""
    seconds = measured["seconds"]
    places = (1, 2, 5, 10, 20, 50)
    series = {"ensemble of T models": {t: float(t) for t in places}}
    for scope in ("last-block", "head2toe"):
        ratio = seconds[scope] / seconds["plain"]
        series[f"composition, {scope}"] = dict.fromkeys(places, ratio)
    return Chart(
        f"one answer, {measured['backbone']}",
        PARTIES,
        "plain passes",
        places,
        series,
        logarithmic=True,
    )


def composing(measured: Mapping[str, Any]) -> Chart:
    """The time that `joint` takes to compose."""
    seconds = {int(t): value for t, value in measured["compose_by_parts"].items()}
    what = f"joint, {measured['width']} features"
    return Chart(
        "composing from component files",
        PARTIES,
        "seconds",
        sorted(seconds),
        {what: seconds},
        logarithmic=True,
    )


def draw(records: Sequence[Record], costs: Mapping[str, Any], folder: Path = FOLDER) -> list[Path]:
    """Write every chart; return the files."""
    paths = []
    for name, chart in charts(records, costs).items():
        path = folder / f"{name}.svg"
        path.write_text(chart.svg())
        paths.append(path)
    return paths
