"""The file of a measurement: its command, its machine and its records, one a line."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy.outcome import Record

RESULTS = Path(__file__).parent.parent / "results" / "accuracy.json"


@dataclass(frozen=True)
class Results:
    """The results of one run."""

    command: str
    machine: str
    seconds: float
    pictures: dict[str, dict[str, int]]  # name -> labels, images drawn to train, tested on
    records: Sequence[Record]
    costs: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the results as JSON that compares well line by line."""
        lines = ",\n".join("    " + json.dumps(asdict(record)) for record in self.records)
        head = {k: v for k, v in vars(self).items() if k != "records"}
        text = json.dumps(head, indent=2).removesuffix("\n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text},\n  "records": [\n{lines}\n  ]\n}}\n')

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read the results that `save` wrote."""
        found = json.loads(path.read_text())
        rows = found.pop("records")
        for row in rows:
            row |= {name: tuple(row[name]) for name in ("accuracies", "notes") if name in row}
        records = [Record(**row) for row in rows]
        return cls(records=records, **found)
