"""The penalty with the highest evidence: from sums, for any split, weighted or not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

import tangent
from tangent.components.hyperparameters import L2_CHOICES
from tangent.composition.attribution import attribute
from tangent.errors import NonFinite
from tangent.solvers.evidence import log_evidence, maximise_evidence
from tangent.solvers.normal_equations import NormalEquations
from tests.support.models import fitted, images, relative, source, space

SIZE, LABELS = 16, ("cat", "dog", "eel")
scopes = pytest.mark.parametrize("scope", ["head", "head2toe"])
seeds = st.integers(0, 2**31)


def regression(seed: int, images: int, width: int, labels: int) -> tuple[torch.Tensor, ...]:
    """Features psi, targets and base rows."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    psi, base = draw(images, width), draw(labels, width)
    true = torch.arange(images) % labels
    return psi, 15.0 * torch.eye(labels, dtype=torch.float64)[true] + draw(images, labels), base


def density(psi: torch.Tensor, residuals: torch.Tensor, ridge: float) -> float:
    """log p of every column of the residuals (N, K), delta integrated out, the noise maximised.

    Every column is normal with covariance s²(I + psi psiᵀ/c).
    """
    covariance = torch.eye(len(psi), dtype=torch.float64) + psi @ psi.T / ridge
    quadratic = (residuals * torch.linalg.solve(covariance, residuals)).sum()
    noise = quadratic / residuals.numel()
    zero = torch.zeros(len(psi), dtype=torch.float64)
    return float(MultivariateNormal(zero, noise * covariance).log_prob(residuals.T).sum())


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    count=st.integers(1, 12),
    width=st.integers(1, 9),
    labels=st.integers(1, 4),
    ridges=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
)
def test_evidence_from_sums_is_the_density_of_the_targets(seed, count, width, labels, ridges):
    psi, targets, base = regression(seed, count, width, labels)
    residuals = targets - psi @ base.T
    gram, z = psi.T @ psi, residuals.T @ psi
    squares = float(residuals.square().sum())
    found = [log_evidence(gram, z, squares, ridge, count) for ridge in ridges]
    expected = [density(psi, residuals, ridge) for ridge in ridges]
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-6, abs=1e-6)


def problem(
    psi: torch.Tensor, true: torch.Tensor, labels: int, weight: float = 1.0
) -> NormalEquations:
    """One client's images with target 15 and equal weights."""
    onehot = torch.eye(labels, dtype=torch.float64)[true]
    return NormalEquations(
        gram=weight * psi.T @ psi,
        targets=weight * 15.0 * onehot.T @ psi,
        images=weight * len(psi),
        spread=weight**2 * len(psi),
        energy=weight * 15.0**2 * len(psi),
        penalty=weight * 1e-4 * len(psi),
        chosen=True,
    )


def clusters(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (N, 8) around one centre a label, the labels, and base rows; one more has none."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(3, (count,), generator=generator)
    psi = torch.randn(count, 8, generator=generator, dtype=torch.float64)
    psi[:, :3] += 2.0 * torch.eye(3, dtype=torch.float64)[true]
    return psi, true, torch.randn(4, 8, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(
    seed=seeds,
    count=st.integers(2, 40),
    cut=st.integers(1, 39),
    power=st.integers(-3, 3),
    weight=st.floats(0.01, 100.0),
)
def test_the_choice_is_the_same_for_any_split_and_scale_of_weights(seed, count, cut, power, weight):
    """On the grid of features sums are exact, and any weight chooses an equally likely penalty.

    Fewer images than features can all be met: the density levels off as the penalty falls, and what
    rounds could choose between equals.
    """
    psi, true, base = clusters(seed, count)
    psi = (psi * 256).round() / 256
    at = min(cut, count - 1)
    split = problem(psi[:at], true[:at], 3) + problem(psi[at:], true[at:], 3)
    chosen = problem(psi, true, 3).l2(base)
    assert split.l2(base) == chosen == problem(psi, true, 3, 4.0**power).l2(base)
    rows = {l2: density(psi, _residuals(psi, true, base), l2 * count * 4 / 2) for l2 in L2_CHOICES}
    assert rows[problem(psi, true, 3, weight).l2(base)] == pytest.approx(rows[chosen], abs=1e-3)
    assert rows[chosen] >= rows[1e-4] - 1e-6


@pytest.mark.parametrize("weight", [0.01, 0.3, 7.0])
def test_rounding_does_not_choose_where_the_density_levels_off(weight):
    """Two images of eight features: without a margin on Q, 1e-6 and 1e-7 win by turns."""
    psi, true, base = clusters(2452763, 2)
    assert problem(psi, true, 3, weight).l2(base) == problem(psi, true, 3).l2(base)


def _residuals(psi: torch.Tensor, true: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    return 15.0 * torch.eye(len(base), dtype=torch.float64)[true] - psi @ base.T


def test_hill_climbing_stops_at_the_first_choice_that_is_no_better():
    values = {1.0: 5.0, 2.0: 3.0, 3.0: 1.0, 4.0: 2.0, 5.0: 0.0, 6.0: 9.0}
    choices = tuple(values)
    assert maximise_evidence(values.__getitem__, choices, 3.0) == 4.0
    assert maximise_evidence(values.__getitem__, choices, 2.0) == 1.0
    assert maximise_evidence(lambda _: 0.0, choices, 3.0) == 3.0


def test_a_choice_that_rounding_makes_indefinite_is_not_taken():
    def value(choice: float) -> float:
        if choice < 2.0:
            raise NonFinite("not positive definite")
        return -choice

    assert maximise_evidence(value, (1.0, 2.0, 3.0), 3.0) == 2.0
    assert maximise_evidence(value, (0.5, 1.0), 1.0) == 1.0  # the training then says what is wrong


@scopes
def test_training_takes_the_choice_of_the_highest_density_around_it(scope, tmp_path):
    """The density is computed from the features, with the labels that are only declared."""
    where = space("mini", scope, ("owl",))
    data = source(SIZE, LABELS * 8)
    found = fitted(where, data, tmp_path, l2="auto")
    rows = sorted({*LABELS, "owl"})
    psi, base = where.readout(data.pixels).double(), where.base_rows(rows)
    true = torch.tensor([rows.index(name) for name in data.labels])
    residuals = _residuals(psi, true, base)
    unit = len(psi) * len(rows) / 2
    values = [density(psi, residuals, l2 * unit) for l2 in L2_CHOICES]
    l2 = found.metrics["l2"]
    at = L2_CHOICES.index(l2)
    assert l2 == found.component.hyperparameters["l2"]
    assert values[at] == max(values[max(at - 1, 0) : at + 2])
    plain = fitted(where, data, tmp_path, l2=l2).component
    assert torch.equal(plain.head, found.component.head)


def test_views_of_an_image_are_no_images_of_their_own(tmp_path):
    """The views of an image count as one image: else the noise would seem four times smaller."""
    where, data = space("mini", "head2toe"), source(SIZE, LABELS * 8)
    part = fitted(where, data, tmp_path, l2="auto", views=4).component
    alone = tangent.compose(where, [(part, None)], "joint", shas=["a"])
    assert relative(alone.head, part.head) <= 1e-10


@scopes
@pytest.mark.parametrize("declared", [(), ("cat", "owl")], ids=["none", "declared"])
@pytest.mark.parametrize("weights", [(None, None, None), (2.0, 2.0, 2.0)], ids=["once", "twice"])
def test_joint_of_components_that_choose_is_the_training_that_chooses(
    scope, declared, weights, tmp_path
):
    where, data = space("mini", scope, declared), source(SIZE, LABELS * 8)
    whole = fitted(where, data, tmp_path, l2="auto").component
    index = [[i for i, n in enumerate(data.labels) if n == name] for name in LABELS]
    parts = [fitted(where, data.chosen(each), tmp_path, l2="auto").component for each in index]
    pairs = list(zip(parts, weights, strict=True))
    found = tangent.compose(where, pairs, "joint", shas=list("abc"))
    expected = whole.head[[whole.head_labels.index(name) for name in LABELS]]
    assert {part.hyperparameters["l2"] for part in parts} != {whole.hyperparameters["l2"]}
    assert relative(found.head, expected) <= 1e-8


def test_one_component_with_a_penalty_of_its_own_keeps_all_to_theirs(tmp_path):
    where, data = space("mini", "head2toe"), source(SIZE, LABELS * 8)
    parts = [
        fitted(where, data.chosen(range(at, 24, 2)), tmp_path, l2=l2).component
        for at, l2 in enumerate(("auto", 1e-2))
    ]
    fixed = [replace(p, hyperparameters=p.hyperparameters | {"choose_l2": False}) for p in parts]
    one, other = (
        tangent.compose(where, [(p, None) for p in each], "joint", shas=list("ab"))
        for each in (parts, fixed)
    )
    assert torch.equal(one.head, other.head)


@scopes
def test_shares_and_rests_are_of_the_penalties_chosen_for_them(scope, tmp_path):
    where, data = space("mini", scope, ("owl",)), source(SIZE, LABELS * 8)
    index = [range(0, 3), range(3, 12), range(12, 24)]
    parts = [(fitted(where, data.chosen(i), tmp_path, l2="auto").component, None) for i in index]
    x = images(SIZE, 4)
    found = attribute(where, x, parts, "joint", shas=list("abc"))
    whole = tangent.compose(where, parts, "joint", shas=list("abc"))
    summed = found.base.logits + sum(found.shares)
    assert relative(summed, where.logits(x, whole).double()) <= 1e-5
    for at, rest in enumerate(found.rests):
        others = parts[:at] + parts[at + 1 :]
        expected = tangent.compose(where, others, "joint", shas=list("ab"))
        assert rest is not None and rest.labels == expected.labels
        assert relative(rest.logits, where.logits(x, expected).double()) <= 1e-5


def test_evidence_prefers_what_generalises(tmp_path):
    """Few images, many features, little to see: the default penalty fits noise, the choice less."""
    where = space("resnet_basic", "head2toe")
    data, unseen = source(32, LABELS * 6, 1), source(32, LABELS * 40, 2)

    def squared_error(l2: object) -> float:
        part = fitted(where, data, tmp_path, l2=l2).component
        delta = tangent.compose(where, [(part, None)], "average", shas=["a"])
        logits = where.logits(unseen.pixels, delta).double()
        true = torch.tensor([delta.labels.index(name) for name in unseen.labels])
        wanted = 15.0 * torch.eye(3, dtype=torch.float64)[true]
        return math.sqrt(float((logits - wanted).square().mean()))

    assert squared_error("auto") < squared_error(1e-4)
