"""The merging operators of the literature on the parties' components, one new component each.

An operator that scales what it merges gets the scale that is best on the images kept back to choose
by. The other parameters are the library's defaults, but for the number of images measured on.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import tangent
from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer, timed
from benchmarks.accuracy.case import Case
from benchmarks.accuracy.tangents import seconds_of
from tangent.composition.merging import METHODS, Parent, derive

MEASURED = 50  # images of each party that curvature is measured on
SCALES = (0.1, 0.3, 1.0, 3.0)


def answers(case: Case) -> Iterator[Answer]:
    """Yield every operator's answer, from the components that the other rules compose too."""
    for name in sorted(METHODS.keys() - {names.REFINE}):  # which is measured as joint, refined
        yield merged(case, name)


def merged(case: Case, name: str) -> Answer:
    """One operator's answer, by the best of its scales."""
    pool, space = case.pool, case.pool.gallery.space(case.pool.scope, True)
    examples = pool.gallery.source(pool.validation) if METHODS[name].dataset else None
    parents = parents_of(case)
    best, chosen, spent, note = -1.0, None, 0.0, ""
    measured = {"images": MEASURED} if "images" in METHODS[name].numbers else {}
    for settings in choices(name):
        given = settings | measured
        made = partial(derive, space, parents, name, given, seed=pool.seed, examples=examples)
        fitted, seconds = timed(made)
        delta = tangent.compose(space, [(fitted.component, None)], "average", shas=["0"])
        share = case.accuracy(pool.logits(delta, pool.validation, known=True), pool.validation)
        spent += seconds
        if share > best:
            best, chosen = share, delta
            note = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    assert chosen is not None
    logits = pool.logits(chosen, pool.gallery.test, known=True)
    trained = seconds_of(case.components)
    return Answer(name, logits, train_seconds=trained, compose_seconds=spent, note=note)


def choices(name: str) -> Sequence[dict[str, Any]]:
    """The parameters to choose among."""
    if "scale" in METHODS[name].numbers:
        return [{"scale": scale} for scale in SCALES]
    return [{}]


def parents_of(case: Case) -> list[Parent]:
    """The parties' components, with their images for operators that measure on them."""
    return [
        Parent(fitted.component, None, case.pool.gallery.source(part))
        for fitted, part in zip(case.components, case.parts, strict=True)
    ]
