"""Training: every solver against an optimum that was computed another way."""

from itertools import chain

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

import tangent
from tangent.backbones.label_head import head_rows
from tests.support.dense_solutions import linearised
from tests.support.models import (
    Source,
    fitted,
    problem,
    relative,
    source,
    space,
    untouched,
)

SIZE = 16
DECLARED = ("bee", "yak")
LABELS = ["cat", "dog", "eel"]


def data(count: int = 24, seed: int = 0) -> Source:
    labels = ("cat", "dog", "eel", "eel", "cat", "eel")
    return source(SIZE, [labels[i % 6] for i in range(count)], seed)


def ridge(psi: np.ndarray, labels: list[str], names: list[str], base: np.ndarray, **how: float):
    """The weighted least-squares solution of the square loss with its penalty, row by row."""
    rows = np.empty_like(base)
    for k, name in enumerate(names):
        true = np.array([label == name for label in labels], dtype=float)
        weight = 1 + (how["alpha"] - 1) * true
        matrix = psi.T @ (weight[:, None] * psi)
        matrix += how["l2"] * len(labels) * len(names) / 2 * np.eye(psi.shape[1])
        right = psi.T @ (weight * (how["beta"] * true - psi @ base[k]))
        rows[k] = np.linalg.solve(matrix, right)
    return rows


def squares(logits: Tensor, labels: list[str], names: list[str], alpha: float, beta: float):
    """The mean of formula (4) over images and labels, written out."""
    total = logits.new_zeros(())
    for row, label in zip(logits, labels, strict=True):
        for h, name in zip(row, names, strict=True):
            total = total + (alpha * (h - beta) ** 2 if name == label else h**2)
    return total / logits.numel()


def base_logits(where: tangent.Space, psi: Tensor, names: list[str]) -> tuple[Tensor, Tensor]:
    rows = torch.zeros(len(names), psi.shape[1], dtype=torch.float64)
    head = head_rows(where._backbone_fingerprint, names, where.width)
    rows[:, : where.width], rows[:, -1] = head[:, :-1], head[:, -1]
    return rows, psi @ rows.T


@pytest.mark.parametrize("declared", [(), DECLARED])
@pytest.mark.parametrize("alpha", [1.0, 0.3, 5.0])
@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_cholesky_gives_the_closed_form_ridge(scope, alpha, declared, tmp_path):
    where, images = space("mini", scope, declared), data()
    how = dict(alpha=alpha, beta=7.0, l2=1e-3)
    found = fitted(where, images, tmp_path, **how).component
    names = sorted({*LABELS, *declared})
    psi = where.readout(images.pixels).clone()
    rows, _ = base_logits(where, psi, names)
    expected = ridge(psi.numpy(), images.labels, names, rows.numpy(), **how)
    assert found.head_labels == tuple(names)
    assert found.labels == {name: images.labels.count(name) for name in LABELS}
    assert relative(found.head, torch.from_numpy(expected)) <= 1e-8


@pytest.mark.parametrize("alpha", [1.0, 4.0])
@pytest.mark.parametrize("loss_names", ["own", "declared"])
def test_conjugate_gradients_reach_the_dense_solution_at_a_block(alpha, loss_names, tmp_path):
    declared = DECLARED if loss_names == "declared" else ()
    where, images = space("mini", "last-block", declared), data(10)
    how = dict(alpha=alpha, beta=5.0, l2=0.05)
    done = fitted(where, images, tmp_path, tolerance=1e-12, **how)
    names = sorted({*LABELS, *declared})
    expected, jacobian, base = dense(where, images, names, **how)
    found = flat(done.component)
    assert relative(found, expected) <= 1e-9
    assert done.metrics["converged"] is True
    assert done.metrics["gradient_reduction"] <= 1e-11

    leaf = found.clone().requires_grad_()
    logits = (base + jacobian @ leaf).view(len(images.labels), len(names))
    value = squares(logits, images.labels, names, alpha, 5.0) + 0.05 / 2 * (leaf**2).sum()
    (slope,) = torch.autograd.grad(value, leaf)
    assert slope.norm() <= 1e-10
    assert done.metrics["final_loss"] == pytest.approx(value.item(), rel=1e-10)


def flat(component: tangent.Component) -> Tensor:
    """The head row by row, then the backbone's directions by name."""
    parts = [component.head.flatten()]
    return torch.cat(parts + [component.backbone[k].flatten() for k in sorted(component.backbone)])


def dense(where: tangent.Space, images: Source, names: list[str], **how: float):
    """The minimiser of the square loss from the explicit Jacobian of the whole classifier."""
    jacobian, logits, true = linearised(where, untouched("mini"), images, names)
    weight = 1 + (how["alpha"] - 1) * true
    ridge = how["l2"] * len(true) / 2
    # (JᵀΩJ + cI)⁻¹JᵀΩ r = Jᵀ(JJᵀ + cΩ⁻¹)⁻¹ r: as many unknowns as outputs
    kernel = jacobian @ jacobian.T + ridge * torch.diag(1 / weight)
    solution = jacobian.T @ torch.linalg.solve(kernel, how["beta"] * true - logits)
    return solution, jacobian, logits


def test_conjugate_gradients_agree_with_cholesky_at_the_head(tmp_path):
    where, images = space("mini", "head", DECLARED), data()
    how = dict(alpha=3.0, l2=1e-2)
    exact = fitted(where, images, tmp_path, **how).component
    found = fitted(where, images, tmp_path, solver="cg", tolerance=1e-13, **how)
    assert relative(found.component.head, exact.head) <= 1e-8
    assert found.component.statistics is not None


def test_conjugate_gradients_stop_where_they_are_told_and_say_so(tmp_path):
    where = space("mini", "last-block")
    short = fitted(where, data(9), tmp_path, l2=1e-6, tolerance=1e-9, max_iterations=2).metrics
    assert (short["iterations"], short["converged"]) == (2, False)
    loose = fitted(where, data(9), tmp_path, l2=1e-2, tolerance=1e-2).metrics
    assert loose["converged"] and loose["gradient_reduction"] <= 1.01e-2


@pytest.mark.parametrize(
    "how",
    [{"loss": "cross_entropy"}, {"penalty": "norm", "l2": 0.3, "lr": 0.3}],
    ids=["entropy", "norm"],
)
def test_adam_approaches_the_minimum_that_scipy_finds(how, tmp_path):
    where, images = space("mini", "head"), data(12)
    how = {"l2": 0.02, "lr": 0.1, "epochs": 600, "batch_size": 12, "solver": "adam"} | how
    done = fitted(where, images, tmp_path, **how)
    psi = where.readout(images.pixels).clone()
    _, base = base_logits(where, psi, LABELS)
    truth = torch.tensor([LABELS.index(label) for label in images.labels])

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(values.copy()).view(3, -1).requires_grad_()
        logits, norm2 = base + psi @ leaf.T, (leaf**2).sum()
        if how.get("loss") == "cross_entropy":
            chosen = logits.log_softmax(1)[torch.arange(12), truth]
            value = -chosen.mean() + 0.02 / 2 * norm2
        else:
            value = squares(logits, images.labels, LABELS, 1, 15) + 0.3 * (1e-6 + norm2).sqrt()
        (slope,) = torch.autograd.grad(value, leaf)
        return value.item(), slope.numpy().ravel()

    found = done.component.head.numpy().ravel()
    best = minimize(objective, np.zeros_like(found), jac=True, options={"gtol": 1e-9})
    value, slope = objective(found)
    start_value, start_slope = objective(np.zeros_like(found))
    assert done.metrics["final_loss"] == pytest.approx(value, rel=1e-10)
    reduction = np.linalg.norm(slope) / np.linalg.norm(start_slope)
    assert done.metrics["gradient_reduction"] == pytest.approx(reduction, rel=1e-6)
    assert value - best.fun <= 1e-4 * (start_value - best.fun)


@pytest.mark.parametrize("scope", ["head", "last-block", "all"])
def test_l_bfgs_brings_cross_entropy_to_its_minimum(scope, tmp_path):
    """The objective is strongly convex: a point without gradient is the minimum."""
    how = {"loss": "cross_entropy", "l2": 0.02}
    done = fitted(space("mini", scope), data(12), tmp_path, tolerance=1e-7, **how)
    assert done.metrics["converged"]
    assert done.metrics["gradient_reduction"] <= 1e-6
    slow = {"solver": "adam", "epochs": 200, "lr": 0.01, "batch_size": 12}
    near = fitted(space("mini", scope), data(12), tmp_path, **how, **slow)
    assert done.metrics["final_loss"] <= near.metrics["final_loss"] + 1e-12


def test_l_bfgs_and_conjugate_gradients_find_the_same_component(tmp_path):
    where, how = space("mini", "last-block", DECLARED), dict(alpha=2.0, l2=1e-2, tolerance=1e-10)
    one = fitted(where, data(), tmp_path, **how).component
    other = fitted(where, data(), tmp_path, solver="lbfgs", **how).component
    assert relative(flat(other), flat(one)) <= 1e-5


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_adams_batch_gradient_is_autograds(scope):
    where, images = space("mini", scope), data(6)
    training = problem(where, images, loss="cross_entropy")
    rows, targets = training.batch(torch.arange(6))
    delta = {k: 0.1 * torch.ones_like(v) for k, v in training.zero().items()}
    base, change = training.outputs(rows, delta)
    logits = (base + change).requires_grad_()
    value = torch.nn.functional.cross_entropy(logits, targets)
    (slope,) = torch.autograd.grad(value, logits)
    pulled = training.adjoint(rows, slope)
    step = 1e-5
    for key, gradient in pulled.items():
        moved = delta | {key: delta[key] + step * gradient}
        _, further = training.outputs(rows, moved)
        expected = (slope * (further - change)).sum() / step
        assert (gradient**2).sum().item() == pytest.approx(expected.item(), rel=1e-6)


def test_adams_learning_rate_falls_after_half_and_four_fifths_of_the_epochs(monkeypatch, tmp_path):
    rates = []

    class Recorder(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            assert self.param_groups[0]["betas"] == (0.9, 0.999)
            assert self.param_groups[0]["weight_decay"] == 0
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "Adam", Recorder)
    fitted(space("mini", "head"), data(6), tmp_path, solver="adam", lr=1e-3, batch_size=4)
    expected = [1e-3] * 50 + [1e-4] * 30 + [1e-5] * 20  # 50 epochs of two batches, 4 and 2 images
    assert rates == pytest.approx(expected, rel=1e-12)


def test_every_epoch_of_adam_sees_every_image_once(monkeypatch, tmp_path):
    where, seen = space("mini", "head"), []
    whole = tangent.training.problem.TrainingProblem.batch

    def batch(self, index):
        seen.append(sorted(index.tolist()))
        return whole(self, index)

    monkeypatch.setattr(tangent.training.problem.TrainingProblem, "batch", batch)
    fitted(where, data(7), tmp_path, solver="adam", epochs=3, batch_size=3)
    steps = [index for index in seen if len(index) < 7]
    assert [len(index) for index in steps[:9]] == [3, 3, 1] * 3
    epochs = [sorted(chain(*steps[i : i + 3])) for i in (0, 3, 6)]
    assert epochs == [list(range(7))] * 3
    assert steps[0] != steps[3] or steps[3] != steps[6]  # shuffled anew


@pytest.mark.parametrize(
    ("scope", "given"),
    [
        ("last-block", {"solver": "lbfgs"}),
        ("last-block", {"alpha": 2.0}),
        ("head", {"solver": "adam"}),
        ("head", {"alpha": 2.0}),
        ("head", {"solver": "cg"}),
    ],
)
def test_l2_auto_is_refused_where_the_sums_do_not_say_what_was_trained(scope, given):
    with pytest.raises(
        tangent.errors.BadHyperparameter,
        match=r'l2 "auto" needs alpha 1 and solver cholesky.*cg, at bl',
    ):
        tangent.Hyperparameters.resolve(scope, {"l2": "auto"} | given)
