"""The main job on real images, over HTTP like any client: `run(url)`, or `python -m app.demo`."""

from app.demo.job import run as run

__all__ = ["run"]
