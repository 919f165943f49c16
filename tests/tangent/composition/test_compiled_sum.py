"""The compiled pass: bit for bit that of torch's operations, and the exact sum of the parts."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.composition import exact_sum
from tangent.composition.exact_sum import COMPILED, GRIDS, GRIDS_OF_64_BITS, Accumulator
from tangent.errors import Overflow

kernel = pytest.importorskip("tangent.composition.compiled_sum", reason="numba is not installed")
ROOT = Path(__file__).resolve().parents[3]
dtypes = pytest.mark.parametrize("dtype", COMPILED)
few = settings(deadline=None, max_examples=60)
weights = st.one_of(
    st.sampled_from([1.0, -1.0, 0.5, 1 / 3, 1e-12]), st.floats(-8, 8).filter(lambda x: x != 0)
)


def entries(dtype: torch.dtype):
    """Numbers of every size; dozens of them stay within the grid's reach."""
    width = {torch.float32: 32, torch.float64: 64, torch.bfloat16: 32}[dtype]
    return st.lists(st.floats(-16, 16, width=width), min_size=1, max_size=9)


@st.composite
def sums(draw, dtype):
    """Vectors of one length with their lambdas; some leave again; and a divisor."""
    values = draw(entries(dtype))
    size = draw(st.integers(1, 3)) * len(values)
    terms = []
    for shift in range(draw(st.integers(1, 6))):
        rolled = [values[(i + shift) % len(values)] for i in range(size)]
        terms.append((torch.tensor(rolled, dtype=torch.float64).to(dtype), draw(weights)))
    leaving = draw(st.lists(st.sampled_from(range(len(terms))), unique=True))
    return terms, [terms[i] for i in leaving], float(draw(st.integers(1, 12)))


def outcome(terms, leaving, divisor, dtype, *, compiled, kept=True):
    """The bytes of the delta and of the limbs, or the error that was raised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sum, "COMPILED_FROM", 0 if compiled else 2**62)
        total = Accumulator(len(terms[0][0]), dtype, kept=kept)
        try:
            found = [total.change(terms, divisor=divisor)]
            if leaving:
                found.append(total.change([], leaving, divisor=divisor))
        except Overflow as error:
            return type(error), str(error)
        limbs = total._limbs if kept else []
        return [bytes(x.view(torch.uint8).numpy()) for x in [*found, *limbs]], total.bounds


@few
@given(data=st.data())
@dtypes
def test_compiled_loops_give_the_bits_of_torch_s_operations(dtype, data):
    case = data.draw(sums(dtype))
    assert outcome(*case, dtype, compiled=True) == outcome(*case, dtype, compiled=False)
    terms, _, divisor = case
    alone = [outcome(terms, [], divisor, dtype, compiled=c, kept=False) for c in (True, False)]
    assert alone[0] == alone[1]


@few
@given(data=st.data())
@dtypes
def test_the_limbs_hold_the_exact_sum_of_the_rounded_parts(dtype, data):
    terms, leaving, _ = data.draw(sums(dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sum, "COMPILED_FROM", 0)
        total = Accumulator(len(terms[0][0]), dtype)
        total.change(terms)
        if leaving:
            total.change([], leaving)
    for k in range(len(terms[0][0])):
        parts = [on_the_grid(float(x[k]) * weight, dtype) for x, weight in terms]
        gone = [on_the_grid(float(x[k]) * weight, dtype) for x, weight in leaving]
        held = sum(Fraction(float(limb[k])) for limb in total._limbs)
        assert held == sum(parts) - sum(gone)


def on_the_grid(value: float, dtype: torch.dtype) -> Fraction:
    """The nearest multiple of the grid, ties to even, and of what that leaves in turn."""
    found, rest = Fraction(0), Fraction(value)
    for grid in GRIDS_OF_64_BITS if dtype == torch.float64 else GRIDS:
        part = round(rest / Fraction(grid)) * Fraction(grid)
        found, rest = found + part, rest - part
    return found


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 2.0**30])
@pytest.mark.parametrize("weight", [1.0, -3.0, 1e34])
@dtypes
def test_what_is_refused_is_refused_by_both_in_the_same_words(dtype, weight, bad):
    x = torch.ones(7, dtype=dtype)
    x[3] = bad
    case = [(torch.ones_like(x), 0.5), (x, weight)], [], 1.0, dtype
    found = outcome(*case, compiled=True)
    assert found == outcome(*case, compiled=False)
    assert found[0] is Overflow
    assert ("NaN or Inf" in found[1]) == (bad != 2.0**30)


@dtypes
def test_a_tiny_part_with_a_huge_weight_is_seen_to_leave_the_reach(dtype):
    x = torch.full((9,), 1e-25, dtype=dtype)
    for compiled in (True, False):
        error, words = outcome([(x, 1e35)], [], 1.0, dtype, compiled=compiled)
        assert error is Overflow
        assert "use smaller or fewer weights" in words


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kept", [True, False])
@dtypes
def test_blocks_slices_and_threads_do_not_show(dtype, kept, threads):
    size = 13 * kernel.BLOCK + 5
    generator = torch.Generator().manual_seed(0)
    terms = [(torch.randn(size, generator=generator).to(dtype), w) for w in (0.3, 1.0, -2.0)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = outcome(terms, terms[:1] if kept else [], 3.0, dtype, compiled=True, kept=kept)
    finally:
        torch.set_num_threads(before)
    whole = outcome(terms, terms[:1] if kept else [], 3.0, dtype, compiled=False, kept=kept)
    assert found == whole


@dtypes
def test_vectors_of_no_entries_and_changes_of_no_parts_are_fine(dtype):
    nothing = torch.empty(0, dtype=dtype)
    assert outcome([(nothing, 1.0)], [], 1.0, dtype, compiled=True)[1] == 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sum, "COMPILED_FROM", 0)
        assert Accumulator(4, dtype).change([]).tolist() == [0.0] * 4


def test_a_compiler_that_fails_costs_speed_and_is_told(monkeypatch, caplog):
    def broken(*_args, **_keywords):
        raise OSError("no space left on device")

    exact_sum._kernel.cache_clear()
    monkeypatch.setattr(kernel, "change", broken)
    try:
        x = torch.ones(5)
        found = outcome([(x, 0.5)], [], 1.0, torch.float32, compiled=True)
        assert found == outcome([(x, 0.5)], [], 1.0, torch.float32, compiled=False)
        assert "without compiled loops" in caplog.text
        assert "no space left" in caplog.text
    finally:
        exact_sum._kernel.cache_clear()


ALONE = """
import sys
sys.modules["numba"] = None
import torch
from tangent.composition import exact_sum
from tangent.composition.exact_sum import Accumulator
exact_sum.COMPILED_FROM = 0
assert "tangent.composition.compiled_sum" not in sys.modules
print(Accumulator(3, torch.float32).change([(torch.ones(3), 0.5)]).tolist())
"""
READ_ONLY = """
from numba.core import caching
caching.CacheImpl._locator_classes = []  # as where no folder can be written
import torch
from tangent.composition import exact_sum
from tangent.composition.exact_sum import Accumulator
exact_sum.COMPILED_FROM = 0
print(Accumulator(3, torch.float32).change([(torch.ones(3), 0.5)]).tolist())
assert exact_sum._kernel(torch.float32) is not None
"""


@pytest.mark.parametrize("code", [ALONE, READ_ONLY], ids=["without numba", "read-only"])
def test_it_composes_without_numba_and_where_nothing_can_be_written(code):
    command = [sys.executable, "-W", "ignore", "-c", code]
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "[0.5, 0.5, 0.5]"
    assert "without compiled loops" not in answer.stderr


def test_importing_the_mathematics_does_not_load_the_compiler():
    code = "import sys, tangent\nprint({'numba', 'llvmlite'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert answer.stdout.strip() == "set()", answer.stderr
