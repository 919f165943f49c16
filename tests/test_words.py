"""Names, docstrings and sizes of files and functions keep the habits, but for listed exceptions.

A test holds one habit for all files, and lists every place that breaks it.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.source_trees import ALL_CODE, modules, nodes, source

PACKAGES = (
    "app",
    "benchmarks",
    "documentation",
    "migrations",
    "tangent",
    "tangent_composer",
    "training_worker",
)
MAX_FILE, MAX_FUNCTION = 300, 40  # lines
HEADLESS = re.compile(r"(What|Where|Which|Who|Whose|How|Whether|When)\b")
BOUND = re.compile(r"_?(MOST|FEWEST|WIDEST|LONGEST|LARGEST|SMALLEST)(_|$)")
Function = ast.FunctionDef | ast.AsyncFunctionDef

# The list below only gets shorter: a new entry means that the new code breaks a habit.
LONGER = {
    "migrations.versions.2026_11_22_first_tables.upgrade",  # as it ran
}


@pytest.fixture(autouse=True, scope="module")
def trees_forgotten() -> Iterator[None]:
    """Leave no tree to the tests that follow in this process."""
    yield
    nodes.cache_clear()


def test_no_file_is_longer_than_300_lines():
    lines = {module: len(source(module).read_text().splitlines()) for module in modules(ALL_CODE)}
    wrong = [
        f"{module} has {count} lines: split it by noun"
        for module, count in lines.items()
        if count > MAX_FILE
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_named_after_nouns_of_the_domain():
    grab_bags = {"utils", "util", "services", "core", "manager", "managers", "helpers"}
    grab_bags |= {"common", "misc"}
    wrong = [
        f"{module}: name the file after what it holds"
        for module in modules(ALL_CODE)
        if grab_bags & set(module.split("."))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_function_is_longer_than_40_lines():
    wrong = []
    for module in modules(PACKAGES):
        for node in nodes(module):
            if isinstance(node, Function):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{module}.{node.name}"
                if lines > MAX_FUNCTION and name not in LONGER:
                    wrong.append(f"{name} has {lines} lines: split it")
    assert not wrong, "\n".join(wrong)


def test_a_docstring_opens_with_a_verb_or_a_noun_and_not_with_a_question_s_word():
    lines = [
        (module, (ast.get_docstring(node) or "").partition("\n")[0])
        for module in modules(PACKAGES)
        for node in nodes(module)
        if isinstance(node, Function | ast.ClassDef | ast.Module)
    ]
    wrong = [f"{module}: {line}" for module, line in lines if HEADLESS.match(line)]
    assert not wrong, "\n".join(wrong)


def test_a_bound_is_named_max_or_min():
    wrong = [
        f"{module}.{node.id}: call it MAX_… or MIN_…"
        for module in modules(PACKAGES)
        for node in nodes(module)
        if isinstance(node, ast.Name) and BOUND.match(node.id)
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_of_every_package_are_read():
    """A habit holds for nothing where no module is found."""
    assert {module.partition(".")[0] for module in modules(PACKAGES)} == set(PACKAGES)
