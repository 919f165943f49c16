"""The memory and the processor time of a process and its children, as the kernel counts them."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SAMPLE_SECONDS = 0.05


class MemoryWatch:
    """Samples a measure of memory during a block; `peak` is the largest value, in bytes."""

    def __init__(self, measure: Callable[[], int]) -> None:
        self.peak = 0
        self._measure, self._done = measure, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._measure())
            if self._done.wait(SAMPLE_SECONDS):
                return


def of_family(pid: int) -> int:
    """Return the bytes of the process and all below it, shared pages in parts."""
    return sum(_share(each) for each in _family(pid))


def of_children(pid: int) -> int:
    """Return the bytes of all processes below this one, shared pages in parts."""
    return of_family(pid) - _share(pid)


def cpu_seconds(pid: int, *, without: Sequence[str] = ()) -> float:
    """Return the processor time of the process, of all below it, and of those that have ended.

    Processes with one of the words of `without` in their command line are left out.
    """
    left = (each for each in _family(pid) if not any(word in _command(each) for word in without))
    return sum(map(_cpu_seconds, left))


def with_word(pid: int, word: str) -> list[int]:
    """Return the ids of the process and all below it with this word in their command line."""
    return [each for each in _family(pid) if word in _command(each)]


def thread_seconds(pid: int) -> tuple[float, float]:
    """Return the processor time of the process's first thread, and of all its other ones."""
    first, whole = (_own_seconds(Path(f"/proc/{pid}/{of}stat")) for of in (f"task/{pid}/", ""))
    return first, whole - first


def _own_seconds(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:  # it has just ended
        return ""


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended, and its parent counts it
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # the thread has just ended
            continue
        for child in children:
            yield from _family(int(child))


def _share(pid: int) -> int:
    """Return the bytes of the process, with its part of what it shares; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return 1024 * int(found[1]) if found else 0
