"""Names, docstrings and sizes of functions keep the house's habits, with a list of exceptions."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "app",
    "benchmarks",
    "documentation",
    "migrations",
    "tangent",
    "tangent_composer",
    "training_worker",
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MAX_FUNCTION = 40  # lines
HEADLESS = re.compile(r"(What|Where|Which|Who|Whose|How|Whether|When)\b")
BOUND = re.compile(r"_?(MOST|FEWEST|WIDEST|LONGEST|LARGEST|SMALLEST)(_|$)")
Function = ast.FunctionDef | ast.AsyncFunctionDef

# The list below only gets shorter: a new entry means that the new code breaks a habit.
LONGER = {
    "migrations.versions.2026_11_22_first_tables.upgrade",  # as it ran
}


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of the file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def dotted(path: Path) -> str:
    """Return the module's dotted name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_function_is_longer_than_40_lines(path):
    for node in nodes(path):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            name = f"{dotted(path)}.{node.name}"
            assert lines <= MAX_FUNCTION or name in LONGER, f"{name} has {lines} lines: split it"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_docstring_opens_with_a_verb_or_a_noun_and_not_with_a_question_s_word(path):
    for node in nodes(path):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            assert not HEADLESS.match(line), f"{dotted(path)}: {line}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_bound_is_named_max_or_min(path):
    for node in nodes(path):
        if isinstance(node, ast.Name) and BOUND.match(node.id):
            raise AssertionError(f"{dotted(path)}.{node.id}: call it MAX_… or MIN_…")
