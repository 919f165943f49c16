"""The unit of measurement: one method on one case, over all seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One method on one case."""

    pictures: str
    backbone: str
    protocol: str
    parties: int
    scope: str  # or the features that a simple method reads
    method: str
    seed: int
    accuracy: float
    passes: int  # of a backbone for one answer
    train_seconds: float = 0.0  # on cached rows, all parties
    compose_seconds: float = 0.0
    gap: float | None = None  # largest logit difference to joint training, of its largest logit
    note: str = ""


@dataclass(frozen=True)
class Record:
    """One method on one case, over the seeds from 0 on."""

    pictures: str
    backbone: str
    protocol: str
    parties: int
    scope: str
    method: str
    accuracies: tuple[float, ...]
    passes: int
    train_seconds: float  # the mean, as the next one
    compose_seconds: float
    gap: float | None  # the largest
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """The mean."""
        return mean(self.accuracies)

    @property
    def shown(self) -> str:
        """In percent, mean ± deviation over seeds."""
        spread = f" ± {100 * stdev(self.accuracies):.1f}" if len(self.accuracies) > 1 else ""
        return f"{100 * self.accuracy:.1f}{spread}"


KEY = ("pictures", "backbone", "protocol", "parties", "scope", "method")


def records(outcomes: Iterable[Outcome]) -> list[Record]:
    """The outcomes by case and method, in the order in which these were first measured."""
    grouped: dict[tuple[Any, ...], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(tuple(getattr(outcome, k) for k in KEY), []).append(outcome)
    return [_record(each) for each in grouped.values()]


def _record(outcomes: list[Outcome]) -> Record:
    ordered = sorted(outcomes, key=lambda outcome: outcome.seed)
    gaps = [outcome.gap for outcome in ordered if outcome.gap is not None]
    return Record(
        **{key: getattr(ordered[0], key) for key in KEY},
        accuracies=tuple(round(outcome.accuracy, 6) for outcome in ordered),
        passes=ordered[0].passes,
        train_seconds=round(mean(outcome.train_seconds for outcome in ordered), 4),
        compose_seconds=round(mean(outcome.compose_seconds for outcome in ordered), 6),
        gap=max(gaps, default=None),
        notes=tuple(outcome.note for outcome in ordered if outcome.note),
    )


def where(found: Iterable[Record], **wanted: Any) -> list[Record]:
    """Return the records whose fields have these values."""
    return [each for each in found if all(getattr(each, k) == v for k, v in wanted.items())]


def difference(a: Record, b: Record) -> float:
    """Accuracy of a over b in points, over the seeds that both have."""
    pairs = list(zip(a.accuracies, b.accuracies, strict=False))
    return 100 * mean(x - y for x, y in pairs)


def best(found: Sequence[Record]) -> Record | None:
    """Return the record with the highest accuracy."""
    return max(found, key=lambda record: record.accuracy, default=None)
