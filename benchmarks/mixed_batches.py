"""A batch that mixes compositions, by the engine and by faster passes."""

from functools import partial
from typing import TYPE_CHECKING

from tangent.jvp.compiled.passes import MIN_ASKED

if TYPE_CHECKING:
    from benchmarks.device import Bench

IMAGES, COMPOSITIONS = 64, 16
PARTS = 2  # what the images share, and the rest of each composition's: as many each


def gain(bench: "Bench") -> float:
    """Return the engine's time over that of recorded passes, at the last block of ViT-S.

    Compiling them would take minutes. A processor has none, and takes the batch in one pass.

    Raises:
        RuntimeError: a part was not recorded; the message says why.
    """
    space = bench.space("ViT-S", "last-block", compile="auto")
    x = bench.images(IMAGES).to(bench.device)
    deltas = [bench.delta(space, seed) for seed in range(COMPOSITIONS)]
    own = [image % COMPOSITIONS for image in range(IMAGES)]
    engine, faster = (
        partial(space.answers_of_own, x, deltas, own, exact=exact) for exact in (True, False)
    )
    for _ in range(MIN_ASKED):
        faster()
    if space.passes is not None:
        for _ in range(PARTS):
            space.passes.make_next()
        if len(space.passes.made) < PARTS:
            raise RuntimeError("; ".join(space.passes.faults))
    return bench.seconds(engine) / bench.seconds(faster)
