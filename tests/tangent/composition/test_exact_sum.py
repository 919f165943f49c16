"""Exact sums: any order and history gives the same bytes, within the stated error of the truth."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.components.mapped_tensors import empty, flat
from tangent.composition import exact_sum
from tangent.composition.exact_sum import CHUNK, Accumulator, reach
from tangent.errors import Overflow

SIZE = 97
WEIGHTS = (1.0, 0.1, -2.5, 1 / 3, 7.0, -1e-3)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
few = settings(deadline=None, max_examples=40)


@pytest.fixture(scope="module", autouse=True, params=["torch", "compiled"])
def way(request):
    """Run every test by torch's operations and by the compiled loops."""
    if request.param == "compiled":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sum, "COMPILED_FROM", 0 if request.param == "compiled" else 2**62)
        yield request.param


def vector(seed: int, dtype: torch.dtype, size: int = SIZE) -> torch.Tensor:
    """Entries of all sizes from far below the grid to ten, with exact halves of it among them."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(size, generator=generator, dtype=torch.float64)
    values *= 10.0 ** -torch.randint(0, 13, (size,), generator=generator)
    values[::7] = (torch.arange(len(values[::7])) - 5) * 2.0**-38
    values[3::7] = (torch.arange(len(values[3::7])) - 5) * 2.0**-63
    return values.clamp(-10, 10).to(dtype)


def data(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def fresh(terms, dtype, divisor=1.0, *, kept=False) -> torch.Tensor:
    return Accumulator(SIZE, dtype, kept=kept).change(terms, divisor=divisor)


@st.composite
def histories(draw) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
    """Draw changes in several steps; return the members after the last step, and the steps."""
    steps, inside = [], []
    for _ in range(draw(st.integers(1, 6))):
        leave = [draw(st.booleans()) for _ in inside]
        out = [i for i, leaves in zip(inside, leave, strict=True) if leaves]
        new = draw(st.lists(st.integers(0, 5), max_size=4))
        inside = [i for i, leaves in zip(inside, leave, strict=True) if not leaves] + new
        steps.append((new, out))
    return inside, steps


@few
@given(history=histories(), shuffled=st.randoms())
@dtypes
def test_after_any_history_the_sum_has_the_bytes_of_a_fresh_one(dtype, history, shuffled):
    inside, steps = history
    terms = [(vector(i, dtype), WEIGHTS[i]) for i in range(6)]
    found = Accumulator(SIZE, dtype)
    for new, out in steps:
        result = found.change([terms[i] for i in new], [terms[i] for i in out], divisor=3.0)
    shuffled.shuffle(inside)
    again = Accumulator(SIZE, dtype)
    expected = again.change([terms[i] for i in inside], divisor=3.0)
    assert data(result) == data(expected)
    for limb, other in zip(found._limbs, again._limbs, strict=True):
        assert data(limb) == data(other)  # signs of zero too: nothing tells of the history


@few
@given(chosen=st.lists(st.integers(0, 5), min_size=1, max_size=9), divisor=st.integers(1, 9))
@dtypes
def test_the_sum_is_the_true_one_within_the_stated_error(dtype, chosen, divisor):
    terms = [(vector(i, dtype), WEIGHTS[i]) for i in chosen]
    wide = Accumulator(SIZE, dtype)
    wide.change(terms, divisor=divisor)
    half = Fraction(wide_grid(dtype)) / 2
    for k in range(SIZE):
        products = [float(x[k]) * weight for x, weight in terms]  # rounded as float64
        held = sum(Fraction(float(limb[k])) for limb in wide._limbs)
        assert abs(held - sum(Fraction(p) for p in products)) <= half * len(terms)
    found = fresh(terms, dtype, float(divisor)).double()
    truth = sum(x.double() * weight for x, weight in terms) / divisor
    unit = torch.finfo(dtype).eps * truth.abs() + torch.finfo(dtype).smallest_normal
    assert ((found - truth).abs() <= unit + float(half) * len(terms) + 1e-14).all()


def wide_grid(dtype: torch.dtype) -> float:
    return 2.0**-62 if dtype == torch.float64 else 2.0**-37


@dtypes
def test_a_part_added_and_taken_away_leaves_the_sum_untouched(dtype):
    kept = Accumulator(SIZE, dtype)
    before = kept.change([(vector(0, dtype), 0.1), (vector(1, dtype), 1.0)])
    limbs = [data(limb) for limb in kept._limbs]
    kept.change([(vector(2, dtype), 1 / 3)])
    after = kept.change([], [(vector(2, dtype), 1 / 3)])
    assert data(after) == data(before)
    assert [data(limb) for limb in kept._limbs] == limbs


@dtypes
def test_a_sum_from_which_all_is_taken_is_zero_in_every_bit(dtype):
    kept = Accumulator(SIZE, dtype)
    terms = [(vector(i, dtype), WEIGHTS[i]) for i in range(5)]
    kept.change(terms)
    assert not any(data(kept.change([], terms)))
    assert not any(byte for limb in kept._limbs for byte in data(limb))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kept", [True, False])
def test_chunks_and_threads_do_not_show(threads, kept, monkeypatch):
    size = 3 * CHUNK + 5
    terms = [(vector(i, torch.float32, size), WEIGHTS[i]) for i in range(3)]
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for length in (CHUNK, CHUNK // 2 + 1, 4 * CHUNK):
        monkeypatch.setattr(exact_sum, "CHUNK", length)
        found.append(data(Accumulator(size, torch.float32, kept=kept).change(terms)))
    torch.set_num_threads(before)
    monkeypatch.setattr(exact_sum, "CHUNK", 1009)
    assert set(found) == {data(Accumulator(size, torch.float32).change(terms))}


def test_entries_that_lie_on_the_grid_are_summed_without_any_error():
    x = torch.randn(SIZE, dtype=torch.float32)
    x = x.sign() * x.abs().clamp_min(2.0**-14)
    found = fresh([(x, 1.0), (x, 1.0), (-x, 1.0)], torch.float32)
    assert torch.equal(found, x)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@dtypes
def test_a_part_that_is_not_finite_is_refused(dtype, bad):
    x = vector(0, dtype)
    x[SIZE // 2] = bad
    with pytest.raises(Overflow, match="holds NaN or Inf"):
        fresh([(vector(1, dtype), 1.0), (x, 0.5)], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_beyond_the_reach_are_refused_and_below_it_exact(dtype):
    most = reach(dtype)
    x = torch.full((SIZE,), most / 4, dtype=dtype)
    terms = [(x, 1.0), (x, -1.0), (x, 1.0)]
    assert torch.equal(fresh(terms, dtype), x)
    with pytest.raises(Overflow, match=r"sums are exact below .* use smaller or fewer weights"):
        fresh([*terms, (x, -1.0)], dtype)
    with pytest.raises(Overflow, match=r"sums are exact below|NaN or Inf"):
        fresh([(x, 1e300)], dtype)


def test_a_change_after_a_removal_has_the_room_again():
    x = torch.full((SIZE,), reach(torch.float32) / 2)
    kept = Accumulator(SIZE, torch.float32)
    kept.change([(x, 1.0)])
    for _ in range(5):
        kept.change([(-x, 0.9)], [])
        kept.change([], [(-x, 0.9)])


def test_a_vector_that_lies_in_one_piece_is_seen_and_not_copied():
    whole = torch.arange(24.0)
    parts = [whole[:6].view(2, 3), whole[6:10], whole[10:]]
    assert flat(parts).data_ptr() == whole.data_ptr()
    assert torch.equal(flat(parts), whole)
    for broken in (parts[::-1], [whole[:6].view(2, 3).T, *parts[1:]], [p.double() for p in parts]):
        found = flat(broken)
        assert found.data_ptr() != whole.data_ptr()
        assert torch.equal(found, torch.cat([p.reshape(-1) for p in broken]))
    assert flat([]).numel() == 0


@pytest.mark.parametrize("size", [0, 1, 1000])
@dtypes
def test_fresh_memory_begins_on_a_cache_line(dtype, size):
    found = empty(size, dtype)
    assert (found.shape, found.dtype) == ((size,), dtype)
    assert size == 0 or found.data_ptr() % 64 == 0


@pytest.mark.parametrize("weight", [1.0, 1e300])
def test_a_sum_of_nothing_is_nothing(weight):
    found = Accumulator(0, torch.float32).change([(torch.zeros(0), weight)])
    assert found.shape == (0,)
