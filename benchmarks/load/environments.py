"""Virtual environments for the systems that the service is compared with."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.load.sending import ROOT

FOLDER = ROOT / "build" / "load"
SECONDS = 1200  # for an installation
MODEL = ("torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31")
PACKAGES = {
    "plain": (*MODEL, "fastapi", "uvicorn[standard]"),
    "litserve": (*MODEL, "litserve==0.2.19"),
}


class NotMade(Exception):
    """An environment could not be made; the message says why."""


def interpreter(name: str, folder: Path = FOLDER) -> str:
    """Return the Python of an environment with these packages, made now if it is not there.

    Raises:
        NotMade: the packages cannot be installed here.
    """
    place, wanted = folder / name, "\n".join(PACKAGES[name])
    python, stamp = place / "bin" / "python", place / "installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "-c", str(ROOT / "constraints.txt"), *PACKAGES[name]])
        stamp.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMade(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).splitlines()
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise NotMade(f"{' '.join(command)}: {' '.join(errors[-2:])}")


def surroundings(threads: int) -> dict[str, str]:
    """Return the environment variables of a system: so many threads, and no settings of others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    return kept | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
