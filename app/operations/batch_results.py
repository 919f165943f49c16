"""Results of a batch prediction: a line for each image, as JSON lines and as CSV (RFC 4180).

with Results(paths, top_k) as results:
    results.add(…)
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from app.errors import Problem
from tangent_composer.schemas.answers import Result

RANKED = ("label", "probability", "logit")  # columns of the first answer; then label_2 …
NAMED = ("index", "image_id", "path", "sha256", "true_label")
JUDGED = ("answer", "novelty", "margin", "abstained_by")  # answer: the label, unless it abstains


class Named(NamedTuple):
    """An image as its line names it."""

    path: str
    sha256: str
    image_id: str | None = None  # of a dataset
    true_label: str | None = None  # of a dataset


class Results:
    """The two files of results while they are written, with their hashes."""

    def __init__(self, paths: Mapping[str, Path], top_k: int) -> None:
        """`paths` are those of `jsonl` and `csv`; a line of CSV has room for `top_k` labels."""
        self.paths, self._top_k = paths, top_k
        self.num_images = self.num_errors = 0
        self._digests = {name: hashlib.sha256() for name in paths}
        self._files = {name: path.open("xb") for name, path in paths.items()}
        more = [f"{each}_{rank}" for rank in range(2, top_k + 1) for each in RANKED]
        self._write("csv", _row([*NAMED, *RANKED, *more, *JUDGED, "error_code", "error"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, image: Named, answer: Mapping[str, Any] | Problem) -> None:
        """Write the line of the next image, whose answer has the fields of a prediction's."""
        line: dict[str, Any] = {"index": self.num_images} | {
            name: value for name, value in image._asdict().items() if value is not None
        }
        cells = [line.get(name) for name in NAMED]
        if isinstance(answer, Problem):
            line["error"] = {"code": answer.code, "detail": answer.detail}
            ranked: list[Any] = []
            judged: list[Any] = [None] * len(JUDGED)
            error: list[Any] = [answer.code, answer.detail]
            self.num_errors += 1
        else:
            out = Result(index=self.num_images, **answer)
            line |= out.model_dump(exclude_unset=True, exclude={"index"})
            ranked = [each.get(name) for each in answer["predictions"] for name in RANKED]
            judged = [out.label, out.novelty, out.margin, out.abstention and out.abstention.by]
            error = [None, None]
        room = [None] * (len(RANKED) * self._top_k - len(ranked))
        self._write("jsonl", json.dumps(line, ensure_ascii=False) + "\n")
        self._write("csv", _row([*cells, *ranked, *room, *judged, *error]))
        self.num_images += 1

    def sha256(self, name: str) -> str:
        """Return the hash of what was written to this file."""
        return self._digests[name].hexdigest()

    def _write(self, name: str, text: str) -> None:
        data = text.encode()
        self._files[name].write(data)
        self._digests[name].update(data)


def _row(cells: Sequence[Any]) -> str:
    """Return a row of CSV; nothing is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()
