"""The rule `joint` at block scopes: in one shot from statistics; refined where data are held."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import tangent
from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer, timed
from benchmarks.accuracy.case import Case
from benchmarks.accuracy.tangents import composed, seconds_of
from tangent.composition.refine import refine

PASSES = 10


def answers(case: Case) -> Iterator[Answer]:
    """Yield both answers, from the same components."""
    yield one_shot(case)
    yield refined(case)


def one_shot(case: Case) -> Answer:
    """The averaged block with the head solved behind it; the parties' data are gone."""
    delta, seconds = timed(lambda: composed(case, case.components, "joint"))
    return Answer(
        names.ONE_SHOT,
        case.pool.logits(delta, case.pool.gallery.test, known=True),
        train_seconds=seconds_of(case.components),
        compose_seconds=seconds,
    )


def refined(case: Case) -> Answer:
    """Conjugate gradients in at most PASSES passes over the parties' cached images."""
    pool = case.pool
    parts = [
        (fitted.component, None, pool.gallery.source(part))
        for fitted, part in zip(case.components, case.parts, strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        found, seconds = timed(
            lambda: refine(
                pool.gallery.space(pool.scope, True), parts, passes=PASSES, scratch=Path(scratch)
            )
        )
    delta = tangent.Delta(found.labels, found.head, found.backbone)
    return Answer(
        names.REFINED,
        pool.logits(delta, pool.gallery.test, known=True),
        train_seconds=seconds_of(case.components),
        compose_seconds=seconds,
        note=f"{found.metrics['passes']} passes",
    )
