"""The battery's figures: a file of results, and the table of docs/operations.md."""

import json
import os
from typing import Any

from benchmarks.interleaved import RESULTS, machine

SOURCE = RESULTS / "battery.json"
MAX_MEMORY = 1.5e9  # bytes of the API and its children
MAX_WAIT = 2.0  # seconds of another's request, and of a deletion


def save(database: str, found: dict[str, Any]) -> None:
    """Keep what one database's run found, in place of its last one."""
    known = json.loads(SOURCE.read_text())["databases"] if SOURCE.is_file() else {}
    kept = {"machine": machine(os.cpu_count() or 1), "databases": known | {database: found}}
    SOURCE.write_text(json.dumps(kept, indent=1) + "\n")


def rows(known: dict[str, Any]) -> list[list[str]]:
    """Return rows of text, the head first; a column for each database."""
    made = [["", "reach", *known]]
    cells: dict[tuple[str, str], str] = {
        ("hostile inputs", ""): "{inputs}",
        ("peak memory of the API and its children", "≤ 1.5 GB"): "{memory_gb:.2f} GB",
        ("longest wait of another's request", "≤ 2 s"): "{wait:.1f} s",
        ("a DELETE beside 100 hostile clients", "≤ 2 s"): "{deletion:.1f} s",
        ("answers 5xx other than 503 and 507", "0"): "{unhonest}",
        ("files left behind", "0"): "{left}",
        ("halts by SIGKILL and SIGSTOP at named steps", ""): "{halts}",
        ("kills at random moments", ""): "{kills}",
        ("acknowledged changes lost, and other findings of the audits", "0"): "{losses}",
        ("processors taken by others meanwhile", ""): "{others:.0%}",
    }
    for (title, reach), form in cells.items():
        made.append([title, reach, *(form.format(**found) for found in known.values())])
    return made
