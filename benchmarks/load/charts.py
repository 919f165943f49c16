"""Charts of throughput by number of clients, one for each space."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.accuracy.lines import Chart
from benchmarks.load.cells import (
    ENGINE,
    FRONT,
    LITSERVE,
    MANY,
    ONE,
    PLAIN,
    SPACES,
    TANGENT,
    Cell,
    Served,
)

SERIES = {  # name -> system, selection
    "tangent, one composition": (TANGENT, ONE),
    "tangent, 32 compositions": (TANGENT, MANY),
    FRONT: (FRONT, ""),
    LITSERVE: (LITSERVE, ""),
    PLAIN: (PLAIN, ""),
}


def charts(document: dict[str, Any]) -> dict[str, Chart]:
    """Return the charts by file name without extension."""
    made = {f"load-{name}": _chart(document, served) for name, served in SPACES.items()}
    return {name: chart for name, chart in made.items() if chart.series}


def _chart(document: dict[str, Any], served: Served) -> Chart:
    series: dict[str, dict[int, float]] = {}
    if bare := _rate(document, Cell(served.name, ENGINE)):
        series[ENGINE] = dict.fromkeys(served.clients, bare)
    for name, (system, selection) in SERIES.items():
        rates = {
            clients: _rate(document, Cell(served.name, system, selection, load=str(clients)))
            for clients in served.clients
        }
        if found := {clients: rate for clients, rate in rates.items() if rate}:
            series[name] = found
    title = f"{served.name}: {served.architecture}, {served.scope}"
    return Chart(title, "clients", "images/s", served.clients, series)


def _rate(document: dict[str, Any], cell: Cell) -> float | None:
    found = document["readings"].get(cell.name)
    return median(each["images_per_second"] for each in found) if found else None


def draw(document: dict[str, Any], folder: Path) -> None:
    """Write every chart into the folder."""
    for name, chart in charts(document).items():
        (folder / f"{name}.svg").write_text(chart.svg())
