"""A method's answer for the test images, and its cost."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """Logits or other scores (n, K) of the test images, a column a label of the gallery."""

    method: str
    logits: Tensor
    passes: int = 1
    train_seconds: float = 0.0
    compose_seconds: float = 0.0
    gap: float | None = None
    note: str = ""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Call `work`; return its result and its seconds."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began
