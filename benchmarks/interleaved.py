"""Ways of doing the same, timed in turn in one process, so that a ratio sees one machine."""

import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

RESULTS = Path(__file__).resolve().parent / "results"  # what docs/measured.md quotes


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each way, over rounds in which every way runs once."""
    for way in ways.values():
        way()  # memory, kernels and caches as in the rounds that count
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            finish()
            began = time.perf_counter()
            way()
            finish()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(each) for name, each in seconds.items()}


def finish() -> None:
    """Wait for what a GPU has been told to do: calls return before it is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def machine(threads: int, device: torch.device | None = None) -> str:
    """Return the name of the card, or by default of the processor, and of torch's version."""
    if device is not None and device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {threads} threads, torch {torch.__version__}"


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds, and again if a compiler catches it."""

    def end(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
