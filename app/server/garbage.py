"""Python's search for garbage in cycles, which requests leave little of."""

import gc

from tangent_composer.garbage import search_seldom


def collect_rarely() -> None:
    """Search seldom, and never through what is there now, as that lives as long as the process.

    With Python's own thresholds, the search took a sixth of a busy API process's time.
    """
    gc.collect()
    gc.freeze()
    search_seldom()
