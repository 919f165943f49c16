"""What carries out a deletion: this code and what it runs on, without a machine's name."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("app", "migrations", "tangent", "training_worker")
LIBRARIES = ("torch", "timm")


def installed(package: str) -> str:
    """The package's version; 0 where it is not installed, as in a bare checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"


@cache
def code() -> dict[str, str]:
    """The project's version, and one hash over its Python files as they lie on this disk."""
    found = hashlib.sha256()
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return {"version": installed("tangent-composer"), "sha256": found.hexdigest()}


@cache
def environment() -> dict[str, str]:
    """The versions below the code, and the kind of platform."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    } | {name: installed(name) for name in LIBRARIES}
