"""Readings: what one cell gives in one round, and all cells in turn over the rounds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load.cells import ENGINE, FROM_FILES, HALF, Cell
from benchmarks.load.sending import Load, Outcome, Sending
from benchmarks.load.systems import Systems
from benchmarks.process_costs import cpu_seconds

Reading = dict[str, Any]
Readings = dict[str, list[Reading]]  # cell -> one of each round
WARM = 0.15  # of a cell's seconds, before those that count
LEAST = 2.0  # requests/s of an open load


def measure(
    systems: Systems,
    cells: list[Cell],
    rounds: int,
    seconds: float,
    told: Callable[[str], None],
) -> Readings:
    """Return every cell's readings; a round takes all cells in turn."""
    found: Readings = {cell.name: [] for cell in cells}
    for number in range(rounds):
        for cell in cells:
            with systems.turn(cell):
                reading = _read(systems, cell, seconds, found)
            found[cell.name].append(reading)
            told(f"round {number + 1}: {cell.name}: {reading['images_per_second']:.1f} images/s")
    return found


def _read(systems: Systems, cell: Cell, seconds: float, found: Readings) -> Reading:
    if cell.system in (ENGINE, FROM_FILES):
        return _of_engine(systems, cell, seconds, found)
    rate = None
    if cell.load == HALF:
        latest = _latest(systems, found, cell)
        most = max((reading["requests_per_second"] for reading in latest), default=0.0)
        rate = max(LEAST, most / 2)
    clients = 1 if rate else int(cell.load)
    load = Load(
        systems.of(cell).url,
        systems.requests(cell),
        clients=clients,
        rate=rate,
        seconds=seconds,
        warm=WARM * seconds,
    )
    return answered(load, systems.of(cell).pid, cell.images) | {"rate": rate}


def _latest(systems: Systems, found: Readings, cell: Cell) -> list[Reading]:
    """Return this round's readings of the same system, by whatever number of clients."""
    clients = next(each.clients for each in systems.spaces if each.name == cell.space)
    closed = (replace(cell, load=str(n)).name for n in clients)
    return [found[name][-1] for name in closed if found.get(name)]


def answered(load: Load, pid: int, images: int = 1) -> Reading:
    """Send the load; return the reading, with the CPU time of the process and all below it."""
    _ask_once(load)
    before = cpu_seconds(pid)
    with Sending(load) as sending:
        pass
    return reading_of(sending.outcome, cpu_seconds(pid) - before, images)


def _ask_once(load: Load) -> None:
    """Have the first request answered: what a system puts off until then is not of this cell."""
    first = load.requests[0]
    httpx.post(
        load.url + first.path,
        content=Path(first.body).read_bytes(),
        headers={"Content-Type": first.type},
        timeout=60,
        trust_env=False,
    )


def reading_of(outcome: Outcome, cpu: float, images: int) -> Reading:
    """Return what is kept of an outcome."""
    return {
        "images_per_second": outcome.rate * images,
        "requests_per_second": outcome.rate,
        "p50": outcome.p50,
        "p95": outcome.p95,
        "p99": outcome.p99,
        "answers": outcome.answers,
        "refused": outcome.refused,
        "errors": outcome.errors,
        "cpu_ms": 1000 * cpu / outcome.answers if outcome.answers else None,
        "phases": outcome.phases,
        "sender_share": outcome.sender_share,
    }


def _of_engine(systems: Systems, cell: Cell, seconds: float, found: Readings) -> Reading:
    """Return the rate of the best batch; from files, of that which was the best from inputs."""
    batches = next(each.batches for each in systems.spaces if each.name == cell.space)
    best = found.get(Cell(cell.space, ENGINE).name)
    from_files = cell.system == FROM_FILES
    if from_files and best:
        batches = (best[-1]["batch"],)
    rates = {
        batch: systems.engine.order(
            "measure",
            space=cell.space,
            batch=batch,
            seconds=seconds / len(batches),
            from_files=from_files,
        )
        for batch in batches
    }
    batch = max(rates, key=lambda each: rates[each]["rate"])
    given = rates[batch]
    every = {str(each): rates[each]["rate"] for each in rates}
    return {
        "images_per_second": given["rate"],
        "cpu_ms": given["cpu_ms"],
        "batch": batch,
        "batches": every,
    }
