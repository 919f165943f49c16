"""The console script in a process of its own."""

import os
import subprocess
import sys

PATIENCE = 120  # seconds, for what takes a few on an idle machine


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of its own, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")}
    settings = {"threads": "1", "scope": "head"} | variables
    return kept | {f"TANGENT_{name.upper()}": value for name, value in settings.items()}


def tangent(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
