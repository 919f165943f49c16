"""Packages of others, installed once in the temporary folder for each version of their lists."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

INSTALL_SECONDS = 240
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def run(*command: object, cwd: Path, seconds: float = 120) -> str:
    """Run a command to its end; return what it printed."""
    # A generator looks for the formatter that was installed with it.
    beside = [str(command[0].parent)] if isinstance(command[0], Path) else []
    places = [*beside, os.environ["PATH"]]
    # Python's own variables are this process's: another environment finds its own packages.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={
            **kept,
            "NO_COLOR": "1",
            "PATH": os.pathsep.join(places),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(name: str, lists: list[Path], *commands: tuple[object, ...]) -> Path:
    """Return a folder with these lists in which the commands have been run, now or before."""
    contents = b"".join(each.read_bytes() for each in lists)
    version = hashlib.sha256(contents + sys.version.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tangent-composer-{name}-{version}-{os.getuid()}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as made:
        inside = Path(made) / "made"
        inside.mkdir()
        for each in lists:
            shutil.copy(each, inside)
        try:
            for command in commands:
                run(*command, cwd=inside, seconds=INSTALL_SECONDS)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"{name} cannot be installed: {str(error)[-400:]}")
        inside.rename(folder)
    return folder


def installed_by_npm(name: str, sources: Path) -> Path:
    """Return a folder with the packages of the package-lock.json in `sources`."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine")
    return installed(name, [sources / "package.json", sources / "package-lock.json"], NPM)
