"""The project's wheel, built from the tracked files, and environments that it is installed into."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PACKAGES = ("app", "migrations", "tangent", "tangent_composer", "training_worker")


def built(folder: Path) -> Path:
    """Build the wheel in this folder; return its file."""
    source = folder / "source"
    source.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return next(folder.glob("*.whl"))


def environment_beside(folder: Path, wheel: Path) -> Path:
    """Make an environment with the wheel, and this one's packages behind; return its Python.

    The project itself is there from the wheel alone: a path that a .pth file adds is searched for
    packages, but its own .pth files, such as that of an editable install, are not read.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{here}\n")
    return folder / "bin" / "python"
