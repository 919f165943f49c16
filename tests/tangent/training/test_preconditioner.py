"""The preconditioner: symmetric, positive, exact at the head, near the truth in the backbone."""

import pytest
import torch

from tangent.training.preconditioner import Preconditioner
from tests.support.models import direction, problem, source, space

CASES = ["mini", "vit", "resnet_basic", "convnext"]


def training(name: str, scope: str = "last-block"):
    size = 32 if name in ("resnet_basic", "convnext") else 16
    return problem(space(name, scope), source(size, ["a", "b", "c"] * 4))


def dot(a: dict, b: dict) -> float:
    return sum((a[key] * b[key]).sum().item() for key in a)


@pytest.mark.parametrize("name", CASES)
def test_its_inverse_is_symmetric_and_positive(name):
    of = training(name)
    made = Preconditioner(of, 0.1)
    u, v = direction(of.zero(), 1), direction(of.zero(), 2)
    assert dot(u, made.solve(v)) == pytest.approx(dot(made.solve(u), v), rel=1e-9)
    assert dot(u, made.solve(u)) > 0


@pytest.mark.parametrize("name", CASES)
def test_its_root_twice_is_its_inverse(name):
    of = training(name)
    made, v = Preconditioner(of, 0.1), direction(of.zero(), 1)
    twice, once = made.root(made.root(v)), made.solve(v)
    for key in v:
        assert torch.allclose(twice[key], once[key], rtol=1e-8, atol=1e-12)


def test_at_the_head_it_is_the_exact_inverse():
    of = training("mini", "head")
    made, v = Preconditioner(of, 0.3), direction(of.zero(), 1)
    psi = of.readout(of.rows)
    expected = torch.linalg.solve(psi.T @ psi + 0.3 * torch.eye(psi.shape[1]).double(), v["head"].T)
    assert torch.allclose(made.solve(v)["head"], expected.T, rtol=1e-9)


def test_without_eigenvectors_the_preconditioner_is_still_symmetric_and_positive(monkeypatch):
    def give_up(matrix):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", give_up)
    of = training("vit")
    made, u = Preconditioner(of, 0.1), direction(of.zero(), 1)
    v = direction(of.zero(), 2)
    assert dot(u, made.solve(v)) == pytest.approx(dot(made.solve(u), v), rel=1e-9)
    assert dot(u, made.solve(u)) > 0


@pytest.mark.parametrize("name", CASES)
def test_its_trace_is_about_that_of_the_normal_matrix(name):
    """The true trace by E|Jᵀu|² over many random u; the preconditioner uses one."""
    of = training(name)
    made, generator = Preconditioner(of, 0.0), torch.Generator().manual_seed(1)
    squares: dict[str, list[float]] = {}
    for _ in range(40):
        signs = torch.randint(0, 2, (12, 3), generator=generator).double() * 2 - 1
        for key, value in of.adjoint(of.rows, signs).items():
            squares.setdefault(key, []).append(value.square().sum().item())
    for key, found in squares.items():
        if key != "head":
            spectrum = made._spectra[key]
            trace = (
                spectrum.values.expand(of.zero()[key].reshape(spectrum.shape).shape).sum().item()
            )
            assert 0.1 < trace / (sum(found) / len(found)) < 10
