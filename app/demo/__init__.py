"""The demo: the main job on real images over HTTP. Use `run(url)` or `python -m app.demo`."""

from app.demo.client import NoService as NoService
from app.demo.job import run as run

__all__ = ["NoService", "run"]
