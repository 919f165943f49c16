"""Output of commands: tables for people, JSON for programs."""

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from tangent_composer.terminal import as_json, clean, say

WIDE = 10_000  # characters of a line that no terminal shows


def show_json(found: BaseModel | dict[str, Any]) -> None:
    """Print a model as the API has it."""
    shown = found.model_dump(mode="json", by_alias=True) if isinstance(found, BaseModel) else found
    print(as_json(shown, indent=2))


def show_listing(items: Iterable[BaseModel]) -> None:
    """Print models as one page of the API, with all there are."""
    data = [item.model_dump(mode="json", by_alias=True) for item in items]
    show_json({"data": data, "has_more": False, "next": None})


def show_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers stand to the right. A pipe gets whole lines."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for at, head in enumerate(heads):
        is_number = bool(lines) and all(isinstance(row[at], int | float) for row in lines)
        table.add_column(head, justify="right" if is_number else "left", overflow="fold")
    for row in lines:
        table.add_row(*(Text(told(cell)) for cell in row))
    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines_shown = (line.rstrip() for line in captured.get().split("\n") if line.strip())
    print("\n".join(lines_shown))  # its cells are clean; the lines may have colours


def show_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, a line each; those without a value are left out."""
    known = [(clean(name), value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(f"{name:<{width}}  {told(value)}")


def told(value: Any) -> str:
    """Return a value as a person reads it, without characters that steer a terminal."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _rounded(value)
    if isinstance(value, dict):
        return ", ".join(f"{told(name)} {told(each)}" for name, each in value.items()) or "–"
    if isinstance(value, list | tuple | set):
        return ", ".join(told(each) for each in value) or "–"
    return clean(value)


def _rounded(value: float) -> str:
    """Return a number with four digits; less than 1 is never shown as 1."""
    text = f"{value:.4g}"
    if abs(value) < 1 <= abs(float(text)):
        return f"{math.copysign(0.9999, value)}"
    return text
