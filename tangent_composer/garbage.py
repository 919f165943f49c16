"""Python's search for garbage in cycles, in a process that runs one of this project's programs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = 20_000, 50, 100  # new objects, and collections of the younger generations


def search_seldom() -> None:
    """Search seldom from now on; to be called before the program's modules are loaded.

    They make objects by the hundred thousand, and keep them. With Python's own thresholds a quarter
    of the time that a service takes to start went into searches that found nothing.
    """
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def seldom_while_loading() -> Iterator[None]:
    """Search seldom in the block, and as before from its end on.

    For a process that then trains: what is left in cycles may hold large tensors.
    """
    usual = gc.get_threshold()
    search_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
