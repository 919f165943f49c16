"""The plan of measurements on each set of images: a full one and a quick one.

How long the full plan took on which machine, the results say. Blocks cost most, so they are
measured by fewer seeds than scopes that are linear in fixed features.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import tangent
from benchmarks.accuracy import blocks, fine_tuning, names, operators, simple, tangents
from benchmarks.accuracy.answer import Answer
from benchmarks.accuracy.case import Case, Pool, Recipe
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.outcome import Outcome
from benchmarks.accuracy.protocols import CLASSES, DATA, SKEWED, TASKS, Protocol

EVERY = (
    *(Protocol(CLASSES, parties) for parties in (5, 10, 20)),
    *(Protocol(DATA, parties) for parties in (5, 20, 50)),
    Protocol(SKEWED, 10),
)
FULL = Recipe()
MIN_IMAGES = 10  # images of a party dealt image by image, on average


@dataclass(frozen=True)
class Effort:
    """The seeds, scopes, protocols and recipe of a measurement."""

    protocols: tuple[Protocol, ...] = EVERY
    scopes: tuple[str, ...] = ("head", "head2toe", "last-block")
    seeds: int = 3
    block_seeds: int = 2
    recipe: Recipe = FULL


SHORT = Recipe(
    epochs=5,
    plain_epochs=3,
    tolerance=0.05,
    component_tolerance=0.05,
    iterations=10,
)
QUICK = Effort(
    protocols=(Protocol(CLASSES, 5), Protocol(CLASSES, 10), Protocol(SKEWED, 10)),
    scopes=("head", "last-block"),
    seeds=1,
    block_seeds=1,
    recipe=SHORT,
)
QUICK_WIDE = replace(QUICK, protocols=(Protocol(CLASSES, 5),), scopes=("head2toe",))


def pools(effort: Effort) -> Iterator[tuple[str, int]]:
    """Scopes with seeds."""
    for scope in effort.scopes:
        seeds = effort.seeds if scope in tangent.LINEAR else effort.block_seeds
        for seed in range(seeds):
            yield scope, seed


def measure(gallery: Gallery, scope: str, seed: int, effort: Effort) -> Iterator[Outcome]:
    """Every method on every case of one pool of images."""
    pool = Pool(gallery, scope, seed, effort.recipe)
    for protocol in possible(effort.protocols, gallery):
        case = Case(pool, protocol)
        for where, answer in answers(case):
            yield from scored(case, where, answer)


def possible(protocols: tuple[Protocol, ...], gallery: Gallery) -> list[Protocol]:
    """Return the protocols for which there are enough labels or images."""
    images = len(gallery.train)
    return [
        p
        for p in protocols
        if p.parties <= (len(gallery.labels) if p.name == CLASSES else images // MIN_IMAGES)
    ]


def answers(case: Case) -> Iterator[tuple[str, Answer]]:
    """Yield the answers of all methods, each with its scope."""
    scope = case.pool.scope
    if scope == "head":
        for answer in simple.answers(case.pool):
            yield names.FEATURES, answer
    for answer in tangents.answers(case):
        yield scope, answer
    if scope not in tangent.LINEAR:
        for methods in (blocks, operators, fine_tuning):
            for answer in methods.answers(case):
                yield scope, answer


def scored(case: Case, scope: str, answer: Answer) -> Iterator[Outcome]:
    """The case's outcome; where parties have labels of their own, also with the task known."""
    pool = case.pool
    outcome = Outcome(
        pictures=pool.gallery.name,
        backbone=pool.gallery.backbone_name,
        protocol=case.protocol.name,
        parties=case.protocol.parties,
        scope=scope,
        method=answer.method,
        seed=pool.seed,
        accuracy=case.accuracy(answer.logits),
        passes=answer.passes,
        train_seconds=round(answer.train_seconds, 4),
        compose_seconds=round(answer.compose_seconds, 6),
        gap=answer.gap,
        note=answer.note,
    )
    yield outcome
    if case.protocol.name == CLASSES:
        share = case.accuracy(answer.logits, masked=True)
        yield replace(outcome, protocol=TASKS, accuracy=share)
