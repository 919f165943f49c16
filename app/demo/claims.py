"""What the demo claims, each looked at and printed as found, and its tables of accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from app.demo.client import Answers
from app.demo.digits import LABELS, Digit


def accuracy(answers: Answers, digits: Sequence[Digit], label: str | None = None) -> float:
    """Share of the digits, of one label or of all, whose best label is their own."""
    hits = [
        best == digit.label
        for best, digit in zip(answers.best(), digits, strict=True)
        if label in (None, digit.label)
    ]
    return sum(hits) / len(hits)


def difference(one: Answers, other: Answers) -> tuple[float, int]:
    """Largest difference of a logit relative to the largest logit; images with another best label.

    Infinite where the two do not rank the same labels.
    """
    if one.labels != other.labels:
        return float("inf"), len(one.logits)
    rows = list(zip(one.logits, other.logits, strict=True))
    scale = max(abs(value) for row in other.logits for value in row.values())
    largest = max(abs(a[label] - b[label]) for a, b in rows for label in b)
    moved = sum(x != y for x, y in zip(one.best(), other.best(), strict=True))
    return largest / scale, moved


def percent(value: float) -> str:
    """A share with one decimal."""
    return f"{value:.1%}"


@dataclass
class Claims:
    """Sentences with the evidence for them, printed as they are looked at."""

    console: Console
    failed: list[str] = field(default_factory=list)

    def look(self, sentence: str, holds: bool, evidence: str = "") -> None:
        """Print the sentence as true or as wrong, and remember which."""
        mark, style = ("✓", "green") if holds else ("✗ NOT TRUE:", "bold red")
        if not holds:
            self.failed.append(sentence)
        self._print(f"  {mark} {sentence}", style)
        if evidence:
            self._print(f"      {evidence}", "dim")

    def _print(self, text: str, style: str) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def by_label(before: Answers, after: Answers, digits: Sequence[Digit]) -> Table:
    """Accuracy of each label before and after the deletion."""
    table = Table(title="Accuracy on held-out digits", title_justify="left")
    for column in ("label", "images", "five components", "after the deletion"):
        table.add_column(column, justify="right")
    for label in LABELS:
        number = sum(digit.label == label for digit in digits)
        left = percent(accuracy(after, digits, label)) if label in after.labels else "gone"
        table.add_row(label, str(number), percent(accuracy(before, digits, label)), left)
    kept = [i for i, digit in enumerate(digits) if digit.label in after.labels]
    remaining = sum(after.best()[i] == digits[i].label for i in kept) / max(1, len(kept))
    table.add_section()
    table.add_row(
        "all",
        str(len(digits)),
        percent(accuracy(before, digits)),
        f"{percent(remaining)} of {len(kept)}",
    )
    return table


def by_rule(rows: dict[str, dict[str, float]], digits: Sequence[Digit]) -> Table:
    """Accuracy by scope and rule: one row a space, one column a way to make its model."""
    title = f"Scope x rule: five components, accuracy on {len(digits)} held-out digits"
    table = Table(title=title, title_justify="left")
    table.add_column("space: scope")
    columns = list(next(iter(rows.values())))
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(percent(row[column]) for column in columns))
    return table
