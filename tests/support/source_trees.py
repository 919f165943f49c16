"""The project's own modules and their syntax trees, for tests that hold a rule for all of them.

    modules(("app", "tangent"))     dotted names
    nodes("app.main")               of the module's tree
    imported("app.main")            what it imports, in full

Trees are kept, millions of objects for the whole project: clear the cache of `nodes` at the end.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "migrations", "tangent", "tangent_composer", "training_worker")
ALL_CODE = (*PACKAGES, "benchmarks", "documentation", "tests")


@cache
def modules(packages: tuple[str, ...] = PACKAGES) -> tuple[str, ...]:
    """Return every module of these packages."""
    found = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(found)


def source(module: str) -> Path:
    """Return the module's file."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Return every node of the module's syntax tree."""
    return tuple(ast.walk(ast.parse(source(module).read_text())))


@cache
def imported(module: str, *, at_run_time_only: bool = False) -> tuple[str, ...]:
    """Return the full names that the module imports; of `from a import b` both `a` and `a.b`."""
    names: list[str] = []
    skipped: set[ast.AST] = set()
    if at_run_time_only:
        for node in nodes(module):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(inner for child in node.body for inner in ast.walk(child))
    for node in nodes(module):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import at line {node.lineno}"
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def below(name: str, prefix: str) -> bool:
    """Return whether the dotted name is the prefix or lies below it."""
    return name == prefix or name.startswith(prefix + ".")
