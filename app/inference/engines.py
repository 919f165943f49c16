"""The engine of a service: in a process of its own, or in the service's process."""

from typing import TYPE_CHECKING, TypeAlias

from app.files.blobs import LocalBlobs
from app.settings import Settings

if TYPE_CHECKING:
    from app.inference.engine.engine import Engine
    from app.inference.remote.remote_engine import RemoteEngine

AnyEngine: TypeAlias = "Engine | RemoteEngine"


def opened_engine(settings: Settings, blobs: LocalBlobs) -> AnyEngine:
    """Return an engine that can answer; only one in this process loads torch here.

    Raises:
        TangentError: it cannot compute on the device of the settings.
        RuntimeError: its process did not start.
    """
    if settings.engine == "process":
        from app.inference.remote.remote_engine import RemoteEngine

        return RemoteEngine(settings)
    from app.inference.engine.engine import Engine
    from app.inference.engine.metrics import EngineMetrics

    return Engine(settings, blobs, EngineMetrics())
