"""The spectrum of a sum, from its range alone or from all of it: the same fits and choices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.errors import NonFinite
from tangent.solvers.normal_equations import NormalEquations
from tangent.solvers.spectrum import FEW, FURTHER, Spectrum

WIDTH = 160
MOST = WIDTH // FEW - FURTHER  # rows of which the range is looked for


def rows(count: int, seed: int = 0) -> torch.Tensor:
    """Rows whose directions differ by a factor of a thousand, as those of features do."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, -3, WIDTH, dtype=torch.float64)
    return torch.randn(count, WIDTH, generator=generator, dtype=torch.float64) * scales


def dense(gram: torch.Tensor) -> Spectrum:
    """The same by all eigenvalues and a factorisation for each penalty."""
    return Spectrum(gram, torch.linalg.eigvalsh(gram), None)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, MOST), power=st.floats(-6, 3), seed=st.integers(0, 99))
def test_the_range_of_few_rows_gives_the_fits_of_the_whole_matrix(count, power, seed):
    psi, ridge = rows(count, seed), 10.0**power
    gram, targets = psi.T @ psi, torch.linspace(-1, 1, 3 * count).reshape(3, count).double() @ psi
    found = Spectrum.of(gram, count)
    assert found.vectors is not None and found.vectors.shape[1] <= count + FURTHER
    kernel = psi @ psi.T  # the same by the images' products with each other
    hat = torch.linalg.solve(kernel + ridge * torch.eye(count).double(), kernel)
    assert found.degrees_of_freedom(ridge) == pytest.approx(float(hat.trace()), rel=1e-7)
    expected = dense(gram).explained(targets, ridge)
    assert found.explained(targets, ridge) == pytest.approx(expected, rel=1e-7)


def test_a_sum_of_many_rows_is_taken_whole():
    psi = rows(MOST + 1)
    assert Spectrum.of(psi.T @ psi, len(psi)).vectors is None


def test_a_sum_of_more_rows_than_it_is_said_to_have_is_taken_whole():
    psi = rows(MOST)
    found = Spectrum.of(psi.T @ psi, 3)
    assert found.vectors is None
    assert torch.equal(found.values, torch.linalg.eigvalsh(psi.T @ psi))


def test_noise_in_all_directions_is_not_left_out():
    psi = rows(4)
    noisy = psi.T @ psi + 1e-9 * torch.eye(WIDTH).double()
    assert Spectrum.of(noisy, 4).vectors is None


def test_no_row_at_all_has_no_freedom():
    nothing = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    found = Spectrum.of(nothing, 0)
    assert found.degrees_of_freedom(1.0) == 0.0
    assert found.explained(torch.zeros(2, WIDTH).double(), 1.0) == 0.0


def test_a_sum_with_nan_is_refused():
    with pytest.raises(NonFinite, match="NaN or Inf"):
        Spectrum.of(torch.full((8, 8), torch.nan, dtype=torch.float64), 1)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(2, MOST), labels=st.integers(2, 4), seed=st.integers(0, 999))
def test_both_choose_the_same_penalty(count, labels, seed):
    psi = rows(count, seed)
    onehot = torch.eye(labels, dtype=torch.float64)[torch.arange(count) % labels]
    problem = NormalEquations(
        gram=psi.T @ psi,
        targets=15.0 * onehot.T @ psi,
        images=float(count),
        spread=float(count),
        energy=15.0**2 * count,
        penalty=0.0,
        chosen=True,
        rows=count,
    )
    base = 0.01 * rows(labels, seed + 1)
    chosen = problem.l2(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tangent.solvers.normal_equations.Spectrum.of", lambda gram, _: dense(gram))
        assert problem.l2(base) == chosen
