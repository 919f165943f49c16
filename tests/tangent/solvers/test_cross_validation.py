"""The penalty by generalised cross-validation: from sums, for any split, weighted or not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tangent
from tangent.components.hyperparameters import L2_CHOICES
from tangent.composition.attribution import attribute
from tangent.solvers.cross_validation import CLEARLY, ROUNDING, LeftOutError, lowest
from tangent.solvers.normal_equations import NormalEquations
from tangent.solvers.spectrum import Spectrum
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


def error(psi: torch.Tensor, residuals: torch.Tensor, ridge: float, caution: float = 1.0) -> float:
    """log V by its definition: the fit's residuals and the trace of its hat matrix (N, N)."""
    kernel = psi @ psi.T
    hat = kernel @ torch.linalg.inv(kernel + ridge * torch.eye(len(psi), dtype=torch.float64))
    left = (residuals - hat @ residuals).square().sum()
    spare = 1 - caution * float(hat.trace()) / len(psi)
    return math.inf if spare <= 0 else math.log(float(left)) - 2 * math.log(spare)


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    count=st.integers(1, 12),
    width=st.integers(1, 9),
    labels=st.integers(1, 4),
    ridge=st.floats(1e-2, 1e3),
    caution=st.sampled_from([1.0, 1.1]),
)
def test_the_error_from_sums_is_that_of_the_hat_matrix(seed, count, width, labels, ridge, caution):
    psi, targets, base = regression(seed, count, width, labels)
    residuals = targets - psi @ base.T
    gram, squares = psi.T @ psi, float(residuals.square().sum())
    given = Spectrum.of(gram, count), residuals.T @ psi, squares, count
    found = LeftOutError(*given, caution=caution).log(ridge)
    expected = error(psi, residuals, ridge, caution)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_it_is_the_error_of_refits_without_each_image_where_all_have_one_leverage():
    """The rows of an orthogonal matrix have the same leverage under any penalty."""
    psi = torch.linalg.qr(regression(3, 6, 6, 2)[0]).Q
    targets, ridge, squared = regression(4, 6, 6, 2)[1], 0.7, 0.0
    for i in range(6):
        kept = [j for j in range(6) if j != i]
        gram = psi[kept].T @ psi[kept] + ridge * torch.eye(6, dtype=torch.float64)
        fitted = torch.linalg.solve(gram, psi[kept].T @ targets[kept])
        squared += float((targets[i] - psi[i] @ fitted).square().sum())
    gram = psi.T @ psi
    squares = float(targets.square().sum())
    found = LeftOutError(Spectrum.of(gram, 6), targets.T @ psi, squares, 6).log(ridge)
    assert found == pytest.approx(math.log(squared), abs=1e-12)


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
        rows=len(psi),
    )


def clusters(
    seed: int, count: int, width: int = 8
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (N, D) around one centre a label, the labels, and base rows; one more has none."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(3, (count,), generator=generator)
    psi = torch.randn(count, width, generator=generator, dtype=torch.float64)
    psi[:, :3] += 2.0 * torch.eye(3, dtype=torch.float64)[true]
    return psi, true, torch.randn(4, width, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(
    seed=seeds,
    count=st.integers(2, 40),
    cut=st.integers(1, 39),
    power=st.integers(-3, 3),
    weight=st.floats(0.01, 100.0),
)
def test_the_choice_is_the_same_for_any_split_and_scale_of_weights(seed, count, cut, power, weight):
    """On the grid of features sums are exact, and any weight chooses a penalty as good.

    Fewer images than features can all be met: the error levels off as the penalty falls, and what
    rounds could choose between equals.
    """
    psi, true, base = clusters(seed, count)
    psi = (psi * 256).round() / 256
    at = min(cut, count - 1)
    split = problem(psi[:at], true[:at], 3) + problem(psi[at:], true[at:], 3)
    chosen = problem(psi, true, 3).l2(base)
    assert split.l2(base) == chosen == problem(psi, true, 3, 4.0**power).l2(base)
    rows = {l2: error(psi, _residuals(psi, true, base), l2 * count * 4 / 2) for l2 in L2_CHOICES}
    assert rows[problem(psi, true, 3, weight).l2(base)] == pytest.approx(rows[chosen], abs=1e-3)
    assert rows[chosen] <= min(rows.values()) + 1e-3


@pytest.mark.parametrize("weight", [0.01, 0.3, 7.0])
def test_rounding_does_not_choose_where_the_error_levels_off(weight):
    """Two images of eight features: without a margin on R, neighbouring choices win by turns."""
    psi, true, base = clusters(2452763, 2)
    assert problem(psi, true, 3, weight).l2(base) == problem(psi, true, 3).l2(base)


def test_views_beyond_the_number_of_images_leave_the_larger_penalties():
    """Eight views of one image have eight degrees of freedom: only what shrinks can be judged."""
    psi, true, base = clusters(5, 8)
    few = replace(problem(psi, true * 0, 3), spread=8.0 * 8.0)
    freedom = Spectrum.of(few.gram, 8).degrees_of_freedom(few.l2(base) * 8 * 4 / 2)
    assert freedom < 1 or few.l2(base) == L2_CHOICES[-1]


def _residuals(psi: torch.Tensor, true: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    return 15.0 * torch.eye(len(base), dtype=torch.float64)[true] - psi @ base.T


# The seeds are of problems in which a descent from 0.001 ends in a valley that is not the lowest.
@pytest.mark.parametrize(("seed", "count"), [(4, 30), (39, 30), (44, 36), (5, 44)])
def test_the_lowest_of_two_valleys_is_taken(seed, count):
    psi, true, base = clusters(seed, count, width=40)
    values = log_errors(psi, true, 0 * base)
    chosen = problem(psi, true, 3).l2(0 * base)
    assert values[chosen] == min(values.values())
    at = L2_CHOICES.index(1e-3)
    for step in (1, -1):
        while values.get(L2_CHOICES[at + step], math.inf) < values[L2_CHOICES[at]]:
            at += step
    assert values[L2_CHOICES[at]] > values[chosen] + 0.05


@settings(deadline=None, max_examples=60)
@given(seed=seeds, count=st.integers(4, 80))
def test_no_choice_that_was_left_out_is_clearly_lower(seed, count):
    psi, true, base = clusters(seed, count, width=40)
    values = log_errors(psi, true, base)
    assert values[problem(psi, true, 3).l2(base)] <= min(values.values()) + 2 * CLEARLY


def log_errors(psi: torch.Tensor, true: torch.Tensor, base: torch.Tensor) -> dict[float, float]:
    """log V of the choices by its definition, without the fits that rounding takes for perfect."""
    residuals, found = _residuals(psi, true, base), {}
    for l2 in L2_CHOICES:
        ridge = l2 * len(psi) * len(base) / 2
        kernel = psi @ psi.T + ridge * torch.eye(len(psi), dtype=torch.float64)
        left = ridge * torch.linalg.solve(kernel, residuals)
        if left.square().sum() > 2 * ROUNDING * residuals.square().sum():
            found[l2] = error(psi, residuals, ridge)
    return found


def test_the_largest_of_penalties_that_rounding_could_part_is_taken():
    assert lowest({1.0: 0.0, 2.0: 1e-6, 3.0: 1.0}) == 2.0
    assert lowest({1.0: math.inf, 2.0: math.inf}) == 2.0  # the training then says what is wrong


def test_a_penalty_that_rounding_makes_indefinite_is_not_taken():
    gram = torch.diag(torch.tensor([4.0, 3.0, -1e-3], dtype=torch.float64))
    left_out = LeftOutError(Spectrum.of(gram, 8), torch.eye(3, dtype=torch.float64), 9.0, 8)
    errors = left_out.logs([1e-4, 1e-2, 1.0])
    assert math.isinf(errors[1e-4]) and math.isfinite(errors[lowest(errors)])


@scopes
def test_training_takes_the_choice_of_the_lowest_error_around_it(scope, tmp_path):
    """The error is computed from the features, with the labels that are only declared."""
    where = space("mini", scope, ("owl",))
    data = source(SIZE, LABELS * 8)
    found = fitted(where, data, tmp_path)  # which is what "auto" asks for
    assert found.component.hyperparameters["choose_l2"] is True
    rows = sorted({*LABELS, "owl"})
    psi, base = where.readout(data.pixels).double(), where.base_rows(rows)
    true = torch.tensor([rows.index(name) for name in data.labels])
    residuals = _residuals(psi, true, base)
    unit = len(psi) * len(rows) / 2
    values = [error(psi, residuals, l2 * unit) for l2 in L2_CHOICES]
    l2 = found.metrics["l2"]
    at = L2_CHOICES.index(l2)
    assert l2 == found.component.hyperparameters["l2"]
    assert values[at] <= min(values[max(at - 1, 0) : at + 2]) + 1e-4  # it may level off
    plain = fitted(where, data, tmp_path, l2=l2)
    assert torch.equal(plain.component.head, found.component.head)
    # The metrics have the errors that were looked at, as parts of that of the base alone.
    tried = {each["l2"]: each["left_out_error"] for each in found.metrics["tried_l2"]}
    assert l2 in tried and len(tried) >= 7 and list(tried) == sorted(tried)
    squares = float(residuals.square().sum())
    for choice, part in tried.items():
        alone = error(psi, residuals, choice * unit)
        assert part == pytest.approx(math.exp(alone) / squares, rel=1e-6)
    assert "tried_l2" not in plain.metrics


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


@pytest.mark.parametrize("count", [12, 40, 400])
def test_the_choice_generalises(count):
    """Fewer, as many and more images than features, most of them noise: unseen images tell."""
    excess = [relative_excess(seed, count) for seed in range(8)]
    assert sum(excess) / len(excess) <= 0.08
    assert max(excess) <= 0.4


def relative_excess(seed: int, count: int) -> float:
    """The squared error on unseen images, relative to that of the best choice, minus 1."""
    psi, true, base = clusters(seed, count, width=40)
    unseen, wanted, _ = clusters(1000 + seed, 2000, width=40)
    pooled = problem(psi, true, 3)
    targets = 15.0 * torch.eye(3, dtype=torch.float64)[wanted]

    def squared_error(l2: float) -> float:
        rows = replace(pooled, chosen=False, penalty=l2 * count).solve(base) + base[:3]
        return float((unseen @ rows.T - targets).square().mean())

    errors = {l2: squared_error(l2) for l2 in L2_CHOICES}
    return errors[pooled.l2(base)] / min(errors.values()) - 1
