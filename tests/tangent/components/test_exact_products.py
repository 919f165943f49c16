"""Sums in whole numbers against Python's own integers, and against the bytes of float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tangent.components import exact_products
from tangent.components.statistics import Statistics, measure

LABELS = ("ant", "bee", "cat")
EVERYWHERE = settings(max_examples=60, deadline=None)


@st.composite
def features(draw) -> tuple[Tensor, Tensor]:
    """Features (n, D) float64 on a grid, of any size up to the limit of exactness; the steps."""
    rows, width = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    limit = math.isqrt((2**53 - 1) // rows)
    at_limit = st.sampled_from([limit, -limit, limit - 1, 1 - limit])
    digits = st.sampled_from([-129, -128, -1, 0, 1, 127, 128, 255, 256, 32767, -32768, 2**23 - 1])
    number = st.one_of(
        st.integers(-limit, limit), at_limit, digits.filter(lambda n: abs(n) <= limit)
    )
    cells = draw(st.lists(number, min_size=rows * width, max_size=rows * width))
    exponents = draw(st.lists(st.integers(-60, 60), min_size=width, max_size=width))
    steps = 2.0 ** torch.tensor(exponents, dtype=torch.float64)
    numbers = torch.tensor(cells, dtype=torch.int64).view(rows, width)
    return numbers.double() * steps, steps


def in_whole_numbers(psi: Tensor, labels, steps: Tensor) -> Statistics:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_products, "QUICK_DOUBLES", ())
        patch.setattr(torch.Tensor, "__matmul__", _in_float32_alone)
        return measure(psi, labels, steps)


_product = torch.Tensor.__matmul__


def _in_float32_alone(a: Tensor, b: Tensor) -> Tensor:
    assert a.dtype == b.dtype == torch.float32
    return _product(a, b)


def of(count: int) -> list[str]:
    return [LABELS[i * i % 3] for i in range(count)]


def bits(found: Statistics) -> tuple[bytes, ...]:
    return found.packed.numpy().tobytes(), found.sums.numpy().tobytes(), repr(found.counts).encode()


@EVERYWHERE
@given(features())
def test_sums_have_the_bits_of_float64_up_to_the_limit(given):
    psi, steps = given
    labels = of(len(psi))
    found = in_whole_numbers(psi, labels, steps)
    assert bits(found) == bits(measure(psi, labels))
    backwards = in_whole_numbers(psi.flip(0), labels[::-1], steps)
    assert bits(found) == bits(backwards)


@EVERYWHERE
@given(features())
def test_products_are_those_of_pythons_integers(given):
    psi, steps = given
    numbers = exact_products.whole(psi, steps)
    rows = [[int(n) for n in row] for row in (psi / steps).tolist()]
    width = range(psi.shape[1])
    expected = [[sum(row[i] * row[j] for row in rows) for j in width] for i in width]
    assert numbers.tolist() == rows
    assert exact_products.products(numbers).tolist() == expected


def test_digits_are_small_and_make_the_number_again():
    numbers = torch.tensor([[0, 1, -1, 127, 128, -128, -129, 2**26, -(2**26), 94906265]])
    digits = exact_products.digits(numbers)
    assert all(d.dtype == torch.float32 and d.min() >= -128 and d.max() <= 127 for d in digits)
    made = sum(d.long() << 8 * i for i, d in enumerate(digits))
    assert torch.equal(made, numbers) and len(exact_products.digits(numbers[:, :4])) == 1


def test_a_product_over_its_rows_is_exact_in_float32_even_from_bfloat16():
    worst = torch.full((exact_products.ROWS, 3), float(exact_products.MIN_DIGIT))
    assert (worst.T @ worst)[0, 0].item() == exact_products.ROWS * 128**2 < 2**24
    every = torch.arange(exact_products.MIN_DIGIT, exact_products.MAX_DIGIT + 1).float()
    assert torch.equal(every.bfloat16().float(), every)


def test_many_rows_of_the_largest_digits_are_exact():
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (3 * exact_products.ROWS + 1, 5), generator=generator) * 2.0 - 1
    psi = signs.double() * 2_000_000 * 2.0**-9  # n² of all rows is just below 2^53
    steps, labels = torch.full((5,), 2.0**-9, dtype=torch.float64), of(len(psi))
    assert bits(in_whole_numbers(psi, labels, steps)) == bits(measure(psi, labels))


@pytest.mark.parametrize("cell", [2.0**26.5, 0.5, math.nan, math.inf, -1e300])
def test_what_is_too_large_or_off_the_grid_is_left_to_float64(cell):
    psi, steps = torch.ones(4, 3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    psi[2, 1] = cell
    assert exact_products.whole(psi, steps) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_products, "QUICK_DOUBLES", ())
        assert bits(measure(psi, of(4), steps)) == bits(measure(psi, of(4)))


def test_features_of_float32_need_no_float64_on_their_device(device):
    generator = torch.Generator().manual_seed(1)
    psi = torch.randint(-70_000, 70_000, (700, 33), generator=generator).float() * 2.0**-12
    steps, labels = torch.full((33,), 2.0**-12, dtype=torch.float64), of(700)
    there = measure(psi.to(device), labels, steps)
    assert bits(there) == bits(measure(psi, labels))
    assert bits(in_whole_numbers(psi, labels, steps)) == bits(there)
