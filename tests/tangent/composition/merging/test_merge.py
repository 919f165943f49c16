"""Deriving: a component from components, the same bytes in any order, with its record."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

import tangent
from tangent import errors
from tangent.composition.merging import METHODS, Parent, derive
from tests.support.models import exact_logits, fitted, images, relative, source, space

SCOPES = ("head", "last-block")
OWN = (["ant", "bee", "ant", "bee"], ["bee", "cat", "cat"], ["cat", "ant", "bee", "bee"])
EVERY = [(scope, name) for scope in SCOPES for name in METHODS]
EVERY.remove(("head", "refine"))
every = pytest.mark.parametrize(("scope", "name"), EVERY)


@cache
def parents(scope: str, loss: str = "rsl") -> tuple[Parent, ...]:
    """Three trained components with their images."""
    found = []
    for seed, labels in enumerate(OWN):
        data = source(16, labels, seed)
        with TemporaryDirectory() as scratch:
            given = {"loss": loss, "max_iterations": 4}
            made = fitted(space("mini", scope), data, Path(scratch), seed, **given)
        found.append(Parent(made.component, source=data))
    return tuple(found)


def examples():
    """Labelled images, some of a label that no parent has."""
    return source(16, ["ant", "bee", "cat", "emu", "bee", "cat", "ant"], 9)


def derived(scope: str, name: str, given=None, order=(0, 1, 2), **rest) -> tangent.TrainingResult:
    chosen = [parents(scope)[i] for i in order]
    wants = {"examples": examples()} if METHODS[name].dataset else {}
    return derive(space("mini", scope), chosen, name, given, **wants | rest)


@every
def test_every_operator_makes_a_component_of_all_labels_that_is_read_back(scope, name, tmp_path):
    made = derived(scope, name, seed=3).component
    assert made.labels == {"ant": 3, "bee": 5, "cat": 3}
    assert made.head_labels == ("ant", "bee", "cat") and made.statistics is None
    assert (made.seed, made.hyperparameters) == (3, {})
    shas = sorted(hashlib.sha256(p.component.to_bytes()).hexdigest() for p in parents(scope))
    assert made.derived.operator == name
    assert made.derived.parents == tuple((sha, None) for sha in shas)
    assert made.derived.ancestors == tuple(shas)
    assert any(v.any() for v in [made.head, *made.backbone.values()])
    made.save(tmp_path / "c.safetensors")
    again = tangent.Component.load(tmp_path / "c.safetensors")
    assert again.to_bytes() == made.to_bytes() and again.derived == made.derived
    space("mini", scope).check(again)


@every
def test_the_order_of_the_parents_does_not_touch_a_byte(scope, name):
    assert derived(scope, name).component.to_bytes() == (
        derived(scope, name, order=(2, 0, 1)).component.to_bytes()
    )


@pytest.mark.parametrize("name", ["task_arithmetic", "dare", "kfac"])
def test_the_seed_is_kept_and_matters_where_something_is_drawn(name):
    one, two = (derived("last-block", name, seed=seed).component for seed in (1, 2))
    assert (one.seed, two.seed) == (1, 2)
    assert torch.equal(one.head, two.head) == (name != "dare")
    same = all(torch.equal(value, two.backbone[key]) for key, value in one.backbone.items())
    assert same == (name == "task_arithmetic")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_sum_answers_as_the_weighted_composition_does(scope):
    weights = [0.5, -1.0, 2.0]
    chosen = [replace(p, weight=w) for p, w in zip(parents(scope), weights, strict=True)]
    where = space("mini", scope)
    made = derive(where, chosen, "task_arithmetic", {"scale": 1.0}).component
    pairs = [(p.component, p.weight) for p in chosen]
    expected = tangent.compose(where, pairs, "weighted", shas=["1", "2", "3"])
    found = tangent.compose(where, [(made, 1.0)], "weighted", shas=["1"])
    x = images(16, 4)
    assert found.labels == expected.labels
    assert relative(exact_logits(where, x, found), exact_logits(where, x, expected)) <= 1e-9


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("objective", ["squared", "cross_entropy"])
def test_atlas_fits_never_worse_than_the_average_and_says_so(scope, objective):
    made = derived(scope, "atlas", {"objective": objective, "l2": 1e-3})
    told = made.metrics
    assert told["num_images"] == 6
    assert told["training_objective"] < told["uniform_training_objective"]
    assert _loss(scope, made.component, objective) <= told["training_objective"] + 1e-9
    pairs = [(p.component, None) for p in parents(scope)]
    average = tangent.compose(space("mini", scope), pairs, "average", shas=["1", "2", "3"])
    assert _delta_loss(scope, average, objective) == pytest.approx(
        told["uniform_training_objective"], rel=1e-6
    )


def _loss(scope: str, component: tangent.Component, objective: str) -> float:
    delta = tangent.compose(space("mini", scope), [(component, 1.0)], "weighted", shas=["1"])
    return _delta_loss(scope, delta, objective)


def _delta_loss(scope: str, delta: tangent.Delta, objective: str) -> float:
    """The data's part of the objective, image by image from the served logits."""
    data = examples()
    known = [i for i, label in enumerate(data.labels) if label in delta.labels]
    logits = exact_logits(space("mini", scope), data.pixels[known], delta)
    total = 0.0
    for row, i in zip(logits, known, strict=True):
        true = delta.labels.index(data.labels[i])
        if objective == "cross_entropy":
            total -= float(torch.log_softmax(row, 0)[true])
        else:
            target = 15.0 * torch.nn.functional.one_hot(torch.tensor(true), len(row))
            total += 0.5 * float(((row - target) ** 2).mean())
    return total / len(known)


def test_atlas_with_a_large_penalty_is_the_average():
    made = derived("last-block", "atlas", {"l2": 1e6})
    pairs = [(p.component, None) for p in parents("last-block")]
    average = tangent.compose(space("mini", "last-block"), pairs, "average", shas=["1", "2", "3"])
    for name, value in average.backbone.items():
        assert relative(made.component.backbone[name], value) <= 1e-3
    for scales in made.metrics["scales"]:
        assert list(scales) == ["head", *average.backbone]


def test_a_derived_component_can_be_a_parent_and_names_all_its_ancestors():
    first = derived("last-block", "ties", order=(0, 1)).component
    chosen = [Parent(first), parents("last-block")[2]]
    made = derive(space("mini", "last-block"), chosen, "task_arithmetic").component
    originals = {hashlib.sha256(p.component.to_bytes()).hexdigest() for p in parents("last-block")}
    own = hashlib.sha256(first.to_bytes()).hexdigest()
    assert set(made.derived.ancestors) == originals | {own}
    assert len(made.derived.parents) == 2


@pytest.mark.parametrize(("name", "weight"), [("ties", 3.0), ("fisher", 3.0), ("regmean", 0.2)])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_mean_of_one_parent_is_that_parent_whatever_its_weight(name, weight, scope):
    (one, *_) = parents(scope)
    given = {"density": 1.0} if name == "ties" else {}
    where = space("mini", scope)
    made = derive(where, [replace(one, weight=weight)], name, given).component
    assert relative(made.head, one.component.head) <= 1e-9
    for key, value in one.component.backbone.items():
        assert relative(made.backbone[key], value) <= 1e-9


@pytest.mark.parametrize("scope", SCOPES)
def test_derived_components_are_refused_by_joint(scope):
    made = derived(scope, "ties").component
    with pytest.raises(errors.NoStatistics, match="derived from others has none"):
        tangent.compose(space("mini", scope), [(made, None)], "joint", shas=["1"])


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"name": "soup"}, errors.UnknownOperator, "no operator is called 'soup'; choose one of"),
        ({"parameters": {"density": 2}}, errors.BadParameter, "density is 2; it must be a number"),
        ({"parents": []}, errors.BadDerivation, "needs at least one parent"),
        ({"examples": examples()}, errors.BadDerivation, "ties takes no labelled images"),
        ({"name": "atlas"}, errors.BadDerivation, "atlas needs labelled images"),
        ({"weight": float("nan")}, errors.BadDerivation, "weight nan, but operator ties needs fin"),
        ({"weight": 1e-200}, errors.BadDerivation, "needs weights of 0, or of a size from 1e-100"),
        (
            {"name": "task_arithmetic", "weight": 1e90},
            errors.NonFinite,
            "could not be composed with others: lower the weights",
        ),
        ({"weight": -1.0}, errors.BadDerivation, "ties needs weights above 0"),
        ({"weight": 0.0}, errors.BadDerivation, "ties needs weights above 0"),
        (
            {"name": "atlas", "examples": examples(), "weight": 1.0},
            errors.BadDerivation,
            "atlas finds the weights itself",
        ),
        (
            {"name": "atlas", "examples": source(16, ["emu"])},
            errors.BadDerivation,
            "no image of the dataset has a label",
        ),
        ({"name": "regmean", "source": None}, errors.BadDerivation, "those of parent 0 are not"),
        ({"scope": "last-2-blocks"}, errors.FingerprintMismatch, "was trained in the space"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_the_reason(change, error, sentence):
    given = {"name": "ties", "parameters": None, "examples": None, "scope": "last-block"} | change
    own = {key: given.pop(key) for key in ("weight", "source") if key in given}
    chosen = given.pop("parents", [replace(p, **own) for p in parents("last-block")])
    where = space("mini", given.pop("scope"))
    with pytest.raises(error, match=sentence):
        derive(where, chosen, given.pop("name"), given.pop("parameters"), **given)


def test_atlas_refuses_a_problem_that_is_too_large(monkeypatch):
    monkeypatch.setattr("tangent.composition.merging.methods.atlas.MAX_NUMBERS", 100)
    with pytest.raises(errors.BadDerivation, match=r"6 images of 3 labels by \d+ coefficients"):
        derived("last-block", "atlas")


def test_at_linear_scopes_statistics_do_for_the_images():
    alone = [replace(parent, source=None) for parent in parents("head")]
    for name in ("fisher", "kfac", "regmean"):
        made = derive(space("mini", "head"), alone, name).component
        assert relative(made.head, derived("head", name).component.head) <= 1e-9


def test_the_fisher_matrix_of_cross_entropy_needs_the_images():
    one = replace(parents("head", "cross_entropy")[0], source=None)
    with pytest.raises(errors.BadDerivation, match="measures on each parent's own images"):
        derive(space("mini", "head"), [one], "fisher")
    assert derive(space("mini", "head"), [one], "regmean").component.head.any()
