"""Variables of the environment; this is the only file of the package that reads or sets any."""

import os
from pathlib import Path

URL, API_KEY, HOME = "TANGENT_URL", "TANGENT_API_KEY", "XDG_CONFIG_HOME"


def variable(name: str) -> str | None:
    """Return the variable's value without white space around it; None if nothing is left."""
    return os.environ.get(name, "").strip() or None


def config_folder() -> Path:
    """Return the folder for the user's own files of this program; it may not exist."""
    base = variable(HOME)
    return (Path(base) if base else Path.home() / ".config") / "tangent"


def put_first_on_path(folder: Path) -> None:
    """Let processes that this one starts find packages in the folder before all others.

    The folder that they run in is left out: it may have packages of the same names.
    """
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    kept = [each for each in others if each != str(folder)]
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *kept])
