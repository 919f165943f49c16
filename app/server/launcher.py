"""Runs a module's `main`, and searches for garbage seldom from before its modules load.

    python -m app.server.launcher MODULE ARGUMENTS…

This is `python -m MODULE ARGUMENTS…`, sooner.
"""

import sys
from importlib import import_module
from typing import Any

from tangent_composer.garbage import search_seldom

MODULE = "app.server.launcher"


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs the module's `main` with these arguments."""
    return [sys.executable, "-m", MODULE, module, *arguments]


def main() -> Any:
    """Return what the named module's `main` returns, which finds its own name in `sys.argv`."""
    del sys.argv[0]
    search_seldom()
    return import_module(sys.argv[0]).main()


if __name__ == "__main__":
    sys.exit(main())
