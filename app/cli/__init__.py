"""The console script `tangent`: `commands` has its functions, other modules do their work.

A command loads what it needs when it runs, so that a refusal costs no seconds.
"""

from app.cli.commands import main as main

__all__ = ["main"]
