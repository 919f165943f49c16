"""The packages of the service and of training, which only this program's own processes import.

Installed, they lie in a folder of their own, so that none of their names is taken from users' code;
in a checkout of the repository, its root is that folder.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tangent_composer.environment import put_first_on_path
from tangent_composer.garbage import search_seldom

HERE = Path(__file__).resolve().parent
# What an extra adds that no smaller one has: if it is there, the extra is taken as installed.
SIGNS = {"fit": ("torch", "timm", "safetensors"), "serve": ("fastapi", "sqlalchemy", "dbos")}


class NotInstalled(Exception):
    """A command needs an extra that is not installed; the message says how to install it."""


def folder() -> Path:
    """Return the folder that has `app`, `migrations`, `tangent` and `training_worker`."""
    installed = HERE / "_bundled"
    return installed if installed.is_dir() else HERE.parent


def enter() -> None:
    """Put the folder first on the path of this process and of those that it starts."""
    place = folder()
    if sys.path[:1] != [str(place)]:
        sys.path.insert(0, str(place))
    put_first_on_path(place)


def load(module: str, extra: str) -> ModuleType:
    """Return a bundled module, for a program that is to run nothing but that.

    Raises:
        NotInstalled: the extra that it needs is missing.
    """
    missing = [name for name in SIGNS[extra] if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"this needs {', '.join(missing)}: pip install 'tangent-composer[{extra}]'"
        )
    enter()
    search_seldom()
    return import_module(module)
