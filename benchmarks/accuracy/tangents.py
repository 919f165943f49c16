"""Methods of the library: joint training, and components composed by each of its rules.

`joint` at a scope where it is exact is compared with joint training logit by logit; at a block it
has a one-shot form and the refined one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import tangent
from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer, timed
from benchmarks.accuracy.case import Case, Pool
from benchmarks.accuracy.gallery import as_images
from benchmarks.accuracy.protocols import CLASSES, DATA, SKEWED
from tangent.composition.attribution import logits_by_component
from tangent.composition.fitted_weights import WeightFit, examples_of

DEFAULTS = tangent.Hyperparameters()
PENALTIES = (1e-4, 1e-2, 1.0)  # averaging needs more than joint training does
PAPERS = {"solver": "adam", "penalty": "norm", "l2": 1e-5, "lr": 1e-3, "batch_size": 32}
BETAS = {DATA: 5.0}  # the papers' target of the true label; 15 elsewhere
JOINT_PENALTIES = tuple(10.0**power for power in range(-5, 2))
WEIGHT_PENALTY = 1e-3


def answers(case: Case) -> Iterator[Answer]:
    """Of every method at the case's scope."""
    paragon = joint_training(case.pool)
    yield paragon
    yield from averages(case)
    yield from solved(case)
    if case.pool.scope in tangent.LINEAR:
        yield joint(case, paragon, known=True)
        if some_labels_each(case):
            yield joint(case, paragon, known=False)
        yield from auto_joint(case)
        yield best_joint(case)


def some_labels_each(case: Case) -> bool:
    """Return whether some party lacks a label, so that knowing all labels matters."""
    return case.protocol.name in (CLASSES, SKEWED)


def joint_training(
    pool: Pool,
    name: str = names.JOINT_TRAINING,
    settings: dict[str, Any] | None = None,
) -> Answer:
    """One component trained on the pooled images: what composition has to reach."""

    def fit() -> Answer:
        fitted = pool.fit(pool.train, settings or {}, known=False)
        delta = tangent.compose(
            pool.gallery.space(pool.scope), [(fitted.component, None)], "average", shas=["0"]
        )
        left = fitted.metrics["gradient_reduction"]
        note = "" if fitted.metrics["converged"] else f"gradient at {left:.1e}"
        return Answer(
            name,
            pool.logits(delta, pool.gallery.test),
            train_seconds=fitted.metrics["seconds"],
            note=note if settings is None else f"l2 {fitted.metrics['l2']:g}",
        )

    return pool.once(name, fit)


def joint(case: Case, paragon: Answer, *, known: bool) -> Answer:
    """The rule at a linear scope; `known`: the parties know all labels in advance."""
    fitted = case.components if known else case.trained({}, known=False)
    return answered_jointly(
        case, names.JOINT if known else names.JOINT_LATE, fitted, paragon, known
    )


def auto_joint(case: Case) -> Iterator[Answer]:
    """The rule where all components ask for a choice of the penalty, and one training's choice.

    The statistics that components carry do not depend on it, so nothing is trained anew.
    """
    paragon = joint_training(case.pool, names.AUTO_TRAINING, {"l2": "auto"})
    yield paragon
    fitted = [with_settings(each, {"choose_l2": True}) for each in case.components]
    found = answered_jointly(case, names.AUTO_JOINT, fitted, paragon, True)
    yield replace(found, note=paragon.note)


def answered_jointly(
    case: Case, name: str, fitted: Sequence[tangent.TrainingResult], paragon: Answer, known: bool
) -> Answer:
    """Components composed by the rule, next to the training that it has to equal."""
    delta, seconds = timed(lambda: composed(case, fitted, "joint", known=known))
    logits = case.pool.logits(delta, case.pool.gallery.test, known=known)
    return Answer(
        name,
        logits,
        train_seconds=seconds_of(fitted),
        compose_seconds=seconds,
        gap=relative(logits, paragon.logits),
    )


def composed(
    case: Case,
    fitted: Sequence[tangent.TrainingResult],
    rule: str,
    *,
    known: bool = True,
    weights: Sequence[float] | None = None,
) -> tangent.Delta:
    """The parties' components by a rule."""
    space = case.pool.gallery.space(case.pool.scope, known)
    given = weights if weights is not None else [None] * len(fitted)
    parts = [(each.component, weight) for each, weight in zip(fitted, given, strict=True)]
    return tangent.compose(space, parts, rule, shas=shas(len(parts)))


def shas(count: int) -> list[str]:
    """Stand-ins for the hashes of component files, in the parties' order."""
    return [f"{i:064x}" for i in range(count)]


def seconds_of(fitted: Sequence[tangent.TrainingResult]) -> float:
    """All parties' trainings one after the other."""
    return sum(each.metrics["seconds"] for each in fitted)


def averages(case: Case) -> Iterator[Answer]:
    """The papers' TMC: with their recipe, converged, with the best penalty, with labels late."""
    if case.pool.scope != "head2toe":  # which the papers do not have
        beta = BETAS.get(case.protocol.name, DEFAULTS.beta)
        recipe: dict[str, Any] = PAPERS | {"epochs": case.pool.recipe.epochs, "beta": beta}
        yield average(case, names.PAPERS_AVERAGE, case.trained(recipe, known=True))
    yield average(case, names.AVERAGE, case.components)
    if case.protocol.name == CLASSES and case.pool.scope != "head2toe":  # where it costs most
        yield best_average(case)
    if case.pool.scope in tangent.LINEAR and some_labels_each(case):
        late = case.trained({}, known=False)
        yield average(case, names.AVERAGE_LATE, late, known=False)


def average(
    case: Case, name: str, fitted: Sequence[tangent.TrainingResult], *, known: bool = True
) -> Answer:
    """The mean of the components."""
    delta, seconds = timed(lambda: composed(case, fitted, "average", known=known))
    return Answer(
        name,
        case.pool.logits(delta, case.pool.gallery.test, known=known),
        train_seconds=seconds_of(fitted),
        compose_seconds=seconds,
    )


def best_average(case: Case) -> Answer:
    """Return the average with the penalty that is best on the images held back for choosing."""
    pool, shares, answers = case.pool, [], []
    for l2 in PENALTIES:
        fitted = case.trained({"l2": l2}, known=True)
        delta = composed(case, fitted, "average")
        validation = pool.logits(delta, pool.validation, known=True)
        shares.append(case.accuracy(validation, pool.validation))
        answers.append(average(case, names.BEST_AVERAGE, fitted))
    best = max(range(len(PENALTIES)), key=shares.__getitem__)
    return replace(answers[best], note=f"l2 {PENALTIES[best]:g}")


def best_joint(case: Case) -> Answer:
    """Return `joint` with the penalty that is best on the images held back for choosing.

    The statistics that components carry do not depend on it, so nothing is trained anew.
    """
    pool, found = case.pool, []
    for l2 in JOINT_PENALTIES:
        fitted = [with_settings(each, {"l2": l2}) for each in case.components]
        delta, seconds = timed(partial(composed, case, fitted, "joint"))
        share = case.accuracy(pool.logits(delta, pool.validation, known=True), pool.validation)
        found.append((share, l2, delta, seconds))
    _, l2, delta, seconds = max(found, key=lambda each: each[:2])
    return Answer(
        names.BEST_JOINT,
        pool.logits(delta, pool.gallery.test, known=True),
        train_seconds=seconds_of(case.components),
        compose_seconds=seconds,
        note=f"l2 {l2:g}",
    )


def with_settings(fitted: tangent.TrainingResult, given: dict[str, Any]) -> tangent.TrainingResult:
    """The component as `joint` sees it had it been trained with these settings.

    A penalty that is given is not chosen.
    """
    chosen = {"choose_l2": False} if "l2" in given else {}
    settings = fitted.component.hyperparameters | chosen | given
    return replace(fitted, component=replace(fitted.component, hyperparameters=settings))


def solved(case: Case) -> Iterator[Answer]:
    """Yield the answer with the weights that `solve` fits to the images held back for choosing."""
    pool, fitted = case.pool, case.components
    space = pool.gallery.space(pool.scope, True)
    components = [each.component for each in fitted]
    labels = tuple(sorted(pool.gallery.labels))
    base, moved = logits_by_component(space, as_images(pool.validation), components, labels)
    truth = [labels.index(pool.gallery.names[i]) for i in pool.validation]
    problem = WeightFit("squared", WEIGHT_PENALTY, "none", beta=DEFAULTS.beta)
    weights, seconds = timed(lambda: problem.solve(examples_of([(base, moved)], truth)))
    delta = composed(case, fitted, "weighted", weights=weights.tolist())
    yield Answer(
        names.SOLVED,
        pool.logits(delta, pool.gallery.test, known=True),
        train_seconds=seconds_of(fitted),
        compose_seconds=seconds,
    )


def relative(a: Tensor, b: Tensor) -> float:
    """The largest difference, of the largest entry of b."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny))
