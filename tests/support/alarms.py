"""Alarms that the code can raise, read from its files: codes of 503 and 507, lines of the log."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.api.http.problems import TANGENT_FAMILY
from app.database import outages
from app.errors import DiskFull, NotReady

ROOT = Path(__file__).resolve().parent.parent.parent
LOUD = ("warning", "error", "exception", "critical")


def codes_of_outages() -> set[str]:
    """Return the codes of all problems of the classes NotReady and DiskFull.

    A code in a variable comes from `outages.SECONDS`, or repeats one that is written elsewhere.
    """
    kinds = {"NotReady", "DiskFull"}
    kinds |= {
        node.name
        for node in _nodes("app")
        if isinstance(node, ast.ClassDef) and kinds & _bases(node)
    }
    codes = set(outages.SECONDS)
    codes |= {kind.code for kind, to in TANGENT_FAMILY.items() if to in (NotReady, DiskFull)}
    for node in _nodes("app"):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
            code = node.args[0]
            if isinstance(code, ast.Constant):
                codes.add(str(code.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "refusal":
            status, code = node.args[:2]
            codes |= {ast.literal_eval(code)} if ast.unparse(status) in ("503", "507") else set()
        elif isinstance(node, ast.Dict):
            codes |= _written_out(node)
    return codes


def _written_out(node: ast.Dict) -> set[str]:
    """Return the code of a whole problem with one of the statuses, else nothing."""
    texts = {
        key.value: value.value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    }
    return {texts["code"]} if "code" in texts and texts.get("status") in (503, 507) else set()


def log_lines(*rooms: str) -> Iterator[str]:
    """Yield the text of every loud line of the log, with an ellipsis for what differs."""
    for node in _nodes(*rooms):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of_failure = node.func.attr == "log_failure"  # which adds the error
            text = node.args[2 if of_failure else 0]
            if (of_failure or node.func.attr in LOUD) and isinstance(text, ast.Constant):
                said = re.sub(r"%(\.\d+)?[a-z]", "…", str(text.value))
                yield f"{said}: …" if of_failure else said


def _nodes(*rooms: str) -> Iterator[ast.AST]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text()))


def _bases(node: ast.ClassDef) -> set[str]:
    return {base.id for base in node.bases if isinstance(base, ast.Name)}
