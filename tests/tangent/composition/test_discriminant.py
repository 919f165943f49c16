"""Rule `discriminant`: a function of the pooled images alone, to the last bit."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

import tangent
from tangent.components.hyperparameters import L2_CHOICES
from tangent.components.source import Source
from tangent.composition.attribution import attribute
from tangent.composition.incremental import IncrementalComposition
from tangent.errors import RuleUnavailable
from tangent.training.downdate import without
from tangent.vocabulary import MAX_WEIGHT, MIN_WEIGHT
from tests.support.models import delta_bytes, fitted, images, relative, source, space

SIZE = 16
LABELS = ["cat"] * 12 + ["dog"] * 6 + ["eel"] * 2
scopes = pytest.mark.parametrize("scope", ["head", "head2toe"])
POOL = source(SIZE, LABELS)


def composed(where, components, weights=None) -> tangent.Delta:
    shas = [hashlib.sha256(each.to_bytes()).hexdigest() for each in components]
    weights = weights or [None] * len(components)
    pairs = list(zip(components, weights, strict=True))
    return tangent.compose(where, pairs, "discriminant", shas=shas)


def trained(where, index, scratch, **given) -> tangent.Component:
    return fitted(where, POOL.chosen(list(index)), scratch, **given).component


def by_definition(psi: np.ndarray, labels: list[str], ridge: float) -> np.ndarray:
    """The scores of all images, from their features and one at a time."""
    names, (n, _) = sorted(set(labels)), psi.shape
    means = {l: psi[[i for i in range(n) if labels[i] == l]].mean(0) for l in names}  # noqa: E741
    scatter = sum(np.outer(psi[i] - means[labels[i]], psi[i] - means[labels[i]]) for i in range(n))
    inverse = np.linalg.inv(scatter + ridge * np.eye(psi.shape[1]))
    share = np.trace(scatter @ inverse) / n
    found = np.empty((n, len(names)))
    for column, name in enumerate(names):
        m, count = means[name], labels.count(name)
        bias = -0.5 * m @ inverse @ m + 0.5 * share / (1 - share) / count
        found[:, column] = n * (1 - share) ** 2 * (psi @ inverse @ m + bias)
    return found


@scopes
def test_the_answer_is_that_of_the_definition(scope, tmp_path):
    where = space("mini", scope)
    delta = composed(where, [trained(where, range(20), tmp_path)])
    psi = where.readout(POOL.pixels).double()
    found = psi @ (where.base_rows(delta.labels) + delta.head).T
    units = 0.5 * len(LABELS) * 3
    gaps = [
        relative(found, torch.from_numpy(by_definition(psi[:, :-1].numpy(), LABELS, l2 * units)))
        for l2 in L2_CHOICES
    ]
    assert min(gaps) <= 1e-6


@scopes
@pytest.mark.parametrize("declared", [(), ("cat", "owl")], ids=["none", "declared"])
def test_any_split_of_the_images_gives_the_same_bytes(scope, declared, tmp_path):
    where = space("mini", scope, declared)
    whole = delta_bytes(composed(where, [trained(where, range(20), tmp_path)]))
    for parts in ([range(12), range(12, 20)], [range(0, 20, 2), range(1, 20, 2)]):
        fits = [trained(where, part, tmp_path) for part in parts]
        assert delta_bytes(composed(where, fits)) == whole
    late = [
        trained(where, part, tmp_path, l2=l2) for part, l2 in ((range(18), 1.0), ([18, 19], 0.1))
    ]
    assert delta_bytes(composed(where, late)) == whole  # the components' own penalties do not count


@scopes
@pytest.mark.parametrize("rule", ["joint", "discriminant"])
def test_a_factor_on_all_weights_changes_nothing_in_the_range_of_weights(scope, rule, tmp_path):
    where = space("mini", scope)
    fits = [trained(where, part, tmp_path) for part in (range(12), range(12, 20))]
    heads = [
        tangent.compose(where, [(each, weight) for each in fits], rule, shas=["a", "b"]).head
        for weight in (1.0, MIN_WEIGHT, 1e-20, 1e20, MAX_WEIGHT)
    ]
    assert max(relative(head, heads[0]) for head in heads) <= 1e-6


@scopes
def test_a_removed_image_was_never_there(scope, tmp_path):
    where = space("mini", scope)
    part, other = trained(where, range(10), tmp_path), trained(where, range(10, 20), tmp_path)
    never = trained(where, [*range(3), *range(4, 10)], tmp_path)
    removed = without(where, part, POOL.pixels[3:4], LABELS[3:4])
    assert delta_bytes(composed(where, [removed, other])) == delta_bytes(
        composed(where, [never, other])
    )


def test_incremental_sums_free_of_a_component_have_the_bytes_of_never(tmp_path):
    where = space("mini", "head")
    parts = {str(at): trained(where, range(at, 20, 5), tmp_path) for at in range(5)}
    sources = [Source(key, part.save(tmp_path / key)) for key, part in parts.items()]
    incremental = IncrementalComposition(lambda one: tangent.Component.load(tmp_path / one.key))
    chosen = lambda index: [(sources[i], None) for i in index]  # noqa: E731
    incremental.compose(where, chosen(range(5)), "joint")
    found = incremental.compose(where, chosen(range(5)), "discriminant")
    assert delta_bytes(found) == delta_bytes(composed(where, list(parts.values())))
    incremental.forget({sources[2].sha256})
    found = incremental.compose(where, chosen([0, 1, 3, 4]), "discriminant")
    kept = [parts[key] for key in "0134"]
    assert delta_bytes(found) == delta_bytes(composed(where, kept))
    joint = incremental.compose(where, chosen([0, 1, 3, 4]), "joint")
    assert delta_bytes(joint) != delta_bytes(found)


def test_a_weight_counts_a_partys_images_that_often(tmp_path):
    where = space("mini", "head")
    one, two = trained(where, range(10), tmp_path), trained(where, range(10, 20), tmp_path)
    twice = composed(where, [one, two], [2.0, 2.0])
    assert relative(twice.head, composed(where, [one, two]).head) <= 1e-9
    assert delta_bytes(composed(where, [one, two], [0.0, 1.0])) == delta_bytes(
        composed(where, [two])
    )


def test_block_scopes_and_attribution_are_refused(tmp_path):
    where = space("mini", "last-block")
    part = fitted(where, POOL, tmp_path, max_iterations=2).component
    with pytest.raises(RuleUnavailable, match=r"at scope head or head2toe.*use rule joint"):
        composed(where, [part])
    where = space("mini", "head")
    pairs = [(trained(where, range(20), tmp_path), None)]
    with pytest.raises(RuleUnavailable, match=r"is no sum over components.*ask by rule joint"):
        attribute(where, images(SIZE, 1), pairs, "discriminant", shas=["a"])


def test_components_without_statistics_are_refused(tmp_path):
    where = space("mini", "head")
    derived = replace(
        trained(where, range(20), tmp_path), statistics=None, derived={"kind": "merge"}
    )
    with pytest.raises(
        tangent.errors.NoStatistics, match="joint and discriminant need the statistics"
    ):
        tangent.compose(where, [(derived, None)], "discriminant", shas=["a"])
