"""The demo's claims, checked and printed as true or false, and its tables of accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from app.cli.demo.client import Answers
from tangent_composer.samples.digits import LABELS, Digit


def accuracy(answers: Answers, digits: Sequence[Digit], label: str | None = None) -> float:
    """Return the share of the digits (of one label, or of all) whose best label is correct."""
    hits = [
        best == digit.label
        for best, digit in zip(answers.best(), digits, strict=True)
        if label in (None, digit.label)
    ]
    return sum(hits) / len(hits)


def difference(one: Answers, other: Answers) -> tuple[float, int]:
    """Return the largest relative difference of a logit, and the number of best labels that differ.

    The difference is infinite if the two answers do not rank the same labels.
    """
    if one.labels != other.labels:
        return float("inf"), len(one.logits)
    rows = list(zip(one.logits, other.logits, strict=True))
    scale = max(abs(value) for row in other.logits for value in row.values())
    largest = max(abs(a[label] - b[label]) for a, b in rows for label in b)
    moved = sum(x != y for x, y in zip(one.best(), other.best(), strict=True))
    return largest / scale, moved


def percent(value: float) -> str:
    """Format a share as percent with one decimal."""
    return f"{value:.1%}"


@dataclass
class Claims:
    """Claims with their evidence, printed as they are checked."""

    console: Console
    failed: list[str] = field(default_factory=list)

    def check(self, sentence: str, holds: bool, evidence: str = "") -> None:
        """Print the sentence as true or not true; keep it in `failed` if it is not."""
        mark, style = ("✓", "green") if holds else ("✗ NOT TRUE:", "bold red")
        if not holds:
            self.failed.append(sentence)
        self._print(f"  {mark} {sentence}", style)
        if evidence:
            self._print(f"      {evidence}", "dim")

    def _print(self, text: str, style: str) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def by_label(before: Answers, after: Answers, digits: Sequence[Digit]) -> Table:
    """Return a table of every label's accuracy before and after the deletion."""
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
    """Return a table of accuracies: one row per space, one column per rule."""
    title = f"Scope x rule: five components, accuracy on {len(digits)} held-out digits"
    table = Table(title=title, title_justify="left")
    table.add_column("space: scope")
    columns = list(next(iter(rows.values())))
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(percent(row[column]) for column in columns))
    return table
