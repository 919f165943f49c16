"""Merges by curvature: minima of their quadratics, as independent solvers find them."""

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from tangent.composition.merging.kronecker import Kronecker
from tangent.composition.merging.methods.fisher import fisher
from tangent.composition.merging.methods.kfac import kfac
from tangent.composition.merging.methods.regmean import regmean
from tangent.composition.merging.task_vectors import HEAD, TaskVectors
from tests.support.task_vectors import LABELS, OWN, SHAPES, by_hand, vectors

seeds = pytest.mark.parametrize("seed", range(3))
BLOCKS = [name for name in SHAPES if name != HEAD]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


@seeds
def test_fisher_is_the_minimum_of_the_weighted_quadratic(seed):
    of = vectors(seed)
    diagonals = random(*of.values.shape, seed=seed).abs() * of.held

    def value(x):
        away = torch.from_numpy(x) - of.values
        return float((of.weights[:, None] * diagonals * away**2).sum())

    found = fisher(of, diagonals)
    best = minimize(value, of.mean().numpy(), method="L-BFGS-B", options={"ftol": 1e-15}).x
    assert close(found, torch.from_numpy(best), 1e-4)
    assert value(found.numpy()) <= value(best) + 1e-12


def test_fisher_by_hand_and_without_any_information():
    of = by_hand([2.0, 1.0, 4.0], [6.0, 3.0, 8.0])
    found = fisher(of, torch.tensor([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0]]).double())
    assert found.tolist() == [3.0, 3.0, 6.0]


@seeds
def test_equal_fisher_matrices_give_the_mean_of_those_that_have_the_row(seed):
    of = vectors(seed)
    assert close(fisher(of, 7.0 * of.held.double()), of.mean())


def inputs(seed: int, count: int = 12) -> dict[str, Tensor]:
    """Inputs X of the head and of the one linear layer."""
    return {HEAD: random(count, 3, seed=seed), "a.weight": random(count, 2, seed=seed + 50)}


def grams(given: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{name: x.T @ x for name, x in each.items()} for each in given]


@seeds
def test_regmean_is_the_least_squares_of_each_layer_over_those_that_have_the_row(seed):
    of, given = vectors(seed), [inputs(seed + 100 * t) for t in range(3)]
    found = of.layout.split(regmean(of, grams(given), alpha=1.0))
    own = [of.layout.split(value) for value in of.values]
    for name in (HEAD, "a.weight"):
        for row in range(SHAPES[name][0]):
            which = [t for t in range(3) if name != HEAD or LABELS[row] in OWN[t]]
            roots = of.weights.sqrt()
            left = torch.cat([roots[t] * given[t][name] for t in which])
            right = torch.cat([roots[t] * given[t][name] @ own[t][name][row] for t in which])
            expected = torch.linalg.lstsq(left, right[:, None]).solution[:, 0]
            assert close(found[name][row], expected)
    assert close(found["a.bias"], of.layout.split(of.mean())["a.bias"])


@seeds
def test_regmean_by_diagonals_alone_is_the_mean_weighted_input_by_input(seed):
    of, given = vectors(seed), [inputs(seed + 100 * t) for t in range(3)]
    found = of.layout.split(regmean(of, grams(given), alpha=0.0))["a.weight"]
    own = [of.layout.split(value)["a.weight"] for value in of.values]
    sizes = torch.stack(
        [w * (x["a.weight"] ** 2).sum(0) for w, x in zip(of.weights, given, strict=True)]
    )
    expected = (sizes[:, None] * torch.stack(own)).sum(0) / sizes.sum(0)
    assert close(found, expected)


def test_regmean_shrinks_what_is_off_the_diagonal():
    of, given = vectors(), grams([inputs(100 * t) for t in range(3)])
    by_hand = [
        {name: 0.7 * g + 0.3 * torch.diag(torch.diag(g)) for name, g in each.items()}
        for each in given
    ]
    assert close(regmean(of, given, alpha=0.7), regmean(of, by_hand, alpha=1.0))


def test_regmean_of_inputs_that_say_too_little_is_the_solution_nearest_to_the_mean():
    of = vectors(own=(LABELS, LABELS), weights=(1.0, 1.0))
    given = [inputs(1, count=1), inputs(2, count=1)]  # two images for a head of three features
    found = of.layout.split(regmean(of, grams(given), alpha=1.0))[HEAD]
    mean = of.layout.split(of.mean())[HEAD]
    x = torch.cat([each[HEAD] for each in given])
    own = [of.layout.split(value)[HEAD] for value in of.values]
    wanted = torch.cat([e[HEAD] @ v.T for e, v in zip(given, own, strict=True)])
    assert close(x @ found.T, wanted)
    outside = torch.eye(3).double() - torch.linalg.pinv(x) @ x
    assert close((found - mean) @ outside, torch.zeros(3, 3).double())


def factors(of: TaskVectors, seed: int) -> list[dict[str, Kronecker]]:
    """Curvatures of full rank on what each parent has."""
    found = []
    for t, held in enumerate(of.held):
        rows = of.layout.split(held)[HEAD].all(1).nonzero().flatten()
        sizes = {HEAD: (len(rows), 3), "a.weight": (4, 2)}
        one = {name: _kronecker(shape, seed + 10 * t) for name, shape in sizes.items()}
        one[HEAD] = one[HEAD].on_rows(rows, len(LABELS))
        found.append(one | {"a.bias": Kronecker((), 0.5 + t)})
    return found


def _kronecker(shape: tuple[int, ...], seed: int) -> Kronecker:
    roots = [random(size, size + 2, seed=seed + axis) for axis, size in enumerate(shape)]
    return Kronecker(tuple(root @ root.T for root in roots), 0.3 + 0.1 * (seed % 5))


def dense(of: Kronecker, shape: torch.Size) -> Tensor:
    """The whole matrix, by numpy's order of entries."""
    if not of.factors:
        return of.scale * torch.eye(shape.numel()).double()
    return of.scale * torch.kron(*of.factors)


@seeds
def test_kfac_solves_the_dense_normal_equations(seed):
    of = vectors(seed)
    curvatures = factors(of, seed)
    found = of.layout.split(kfac(of, curvatures, iterations=1000))
    own = [of.layout.split(value) for value in of.values]
    for name, shape in SHAPES.items():
        matrices = [
            w * dense(each[name], shape)
            for w, each in zip(of.weights.tolist(), curvatures, strict=True)
        ]
        right = sum(m @ v[name].flatten() for m, v in zip(matrices, own, strict=True))
        expected = torch.linalg.solve(sum(matrices), right)
        assert close(found[name].flatten(), expected, 1e-7)


def test_kfac_with_three_axes_multiplies_as_the_dense_matrix_does():
    parts = tuple(random(n, n, seed=n) for n in (2, 3, 4))
    parts = tuple(part @ part.T for part in parts)
    x = random(2, 3, 2, 2, seed=9)
    whole = torch.kron(torch.kron(parts[0], parts[1]), parts[2])
    assert close(Kronecker(parts, 2.0).times(x).flatten(), 2.0 * whole @ x.flatten())


def test_kfac_stays_at_the_mean_where_there_is_no_curvature():
    of = by_hand([2.0, 1.0, 4.0], [6.0, 3.0, 8.0])
    seen = [
        {HEAD: Kronecker((), 0.0), "w": Kronecker((torch.diag(torch.tensor(d)).double(),), 1.0)}
        for d in ([3.0, 0.0, 0.0], [1.0, 2.0, 0.0])
    ]
    assert close(kfac(of, seen, iterations=50), torch.tensor([3.0, 3.0, 6.0]).double())


@seeds
def test_where_all_share_labels_and_features_kfac_is_regmean_at_the_head(seed):
    of = vectors(seed, (LABELS,) * 3)
    given = [inputs(seed + 100 * t) for t in range(3)]
    eye = torch.eye(3).double()
    bent = [
        {HEAD: Kronecker((eye, g[HEAD]), 1.0)} | {name: Kronecker((), 1.0) for name in BLOCKS}
        for g in grams(given)
    ]
    one = of.layout.split(kfac(of, bent, iterations=1000))[HEAD]
    assert close(one, of.layout.split(regmean(of, grams(given), alpha=1.0))[HEAD], 1e-7)
