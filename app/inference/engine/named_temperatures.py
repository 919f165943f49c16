"""Temperatures by datasets that requests name, kept until anything is deleted or changed."""

from collections import OrderedDict
from threading import Lock

from app.inference.models import Model

MAX_KEPT = 256  # numbers


class NamedTemperatures:
    """The temperatures that were asked for last, for any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Model, str], float] = OrderedDict()
        self._clearings = 0

    def get(self, model: Model, name: str) -> tuple[float | None, int]:
        """Return the temperature, if it is in memory, and a number for `keep`."""
        with self._lock:
            found = self._kept.get((model, name))
            if found is not None:
                self._kept.move_to_end((model, name))
            return found, self._clearings

    def keep(self, model: Model, name: str, temperature: float, clearings: int) -> None:
        """Keep it, unless a deletion may have overtaken it since `get` gave this number."""
        with self._lock:
            if clearings == self._clearings:
                self._kept[model, name] = temperature
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)

    def clear(self) -> None:
        """Drop all: each is a function of some hundred images, and is made again."""
        with self._lock:
            self._clearings += 1
            self._kept.clear()
