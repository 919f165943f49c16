"""The demo: the main job on real images over HTTP. Use `run(url)` or `python -m app.cli.demo`."""

from app.cli.demo.client import NoService
from app.cli.demo.job import run

__all__ = ["NoService", "run"]
