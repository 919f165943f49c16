"""The source files of packages: their dotted names, imports, lines and functions."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = ("app", "tangent", "tangent_composer", "training_worker", "migrations")


class Function(NamedTuple):
    """The size of a function and its place."""

    lines: int  # from `def` to the end, decorators left out
    module: str
    name: str


def modules(root: Path, package: str) -> dict[str, Path]:
    """Return the file of every module at or below a dotted name, by its own dotted name."""
    place = root.joinpath(*package.split("."))
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    found = {}
    for file in files:
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(module: str, file: Path) -> list[tuple[str, str]]:
    """Return what a module imports, as pairs of the name it has there and its full dotted name.

    `from a import b` gives `a.b`, which may be a module or a name inside the module `a`.
    """
    found = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            found += [(alias.asname or alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module, file)
            found += [(name.asname or name.name, f"{source}.{name.name}") for name in node.names]
    return found


def lines(root: Path, packages: Iterable[str]) -> int:
    """Return the number of lines in all files of these packages."""
    files = (file for package in packages for file in modules(root, package).values())
    return sum(len(file.read_text().splitlines()) for file in files)


def functions(root: Path, packages: Iterable[str]) -> list[Function]:
    """Return the functions of these packages, the longest first."""
    return sorted(_functions(root, packages), key=lambda function: -function.lines)


def _functions(root: Path, packages: Iterable[str]) -> Iterator[Function]:
    for package in packages:
        for module, file in modules(root, package).items():
            for node in ast.walk(_tree(file)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    yield Function(length, module, node.name)


def _source(node: ast.ImportFrom, module: str, file: Path) -> str:
    if not node.level:
        return node.module or ""
    above = node.level - (file.name == "__init__.py")
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - above], *([node.module] if node.module else [])])


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())
