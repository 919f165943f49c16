"""A device's passes of the exact sum: the processor's bits, for numbers of every kind.

The kernel in Triton runs on a processor too, in Triton's interpreter, which has to be chosen before
Triton is loaded: `test_device_pass` runs this file again in a process of its own.
"""

import importlib
import os
from fractions import Fraction
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.composition import exact_sum
from tangent.composition.exact_sum import (
    GRIDS,
    GRIDS_OF_64_BITS,
    HOST,
    Accumulator,
)
from tangent.errors import Overflow

pytestmark = [  # the interpreter computes by numpy, which warns of what the sum itself refuses
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HERE = torch.device("cpu", 0)  # is not HOST, so it is summed on as a device is
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
few = settings(deadline=None, max_examples=4 if INTERPRETED else 40)
weights = st.one_of(
    st.sampled_from([1.0, -1.0, 0.5, 1 / 3, 1e-12, 2.0**37]), st.floats(-8, 8).filter(bool)
)
ODD = [0.0, -0.0, 2.0**-38, 3 * 2.0**-38, 2.0**-62, 1e-45, -5e-324, 1.0, -1.0, 1 / 3]


def passes():
    """Yield every pass that can run here, with the device that it runs on."""
    yield "torch", HERE
    if INTERPRETED:
        yield "triton", HERE
    if torch.cuda.is_available():
        yield "torch", torch.device("cuda", 0)
        if find_spec("triton"):
            yield "triton", torch.device("cuda", 0)


@pytest.fixture(scope="module", autouse=True, params=passes(), ids=lambda one: f"{one[0]}-{one[1]}")
def device(request):
    """Run every test by every pass, with chunks and blocks so small that sums have several."""
    name, where = request.param
    way = importlib.import_module(f"tangent.composition.{name}_sum" if name != "torch" else MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sum, "pass_on", lambda *_: way.change)
        patch.setattr(way, "CHUNK" if name == "torch" else "BLOCK", 4)
        yield where


MODULE = "tangent.composition.device_sum"


@st.composite
def sums(draw, dtype):
    """Vectors of one length with their lambdas; some leave again; and a divisor."""
    most = 2.0**-30 if dtype != torch.float64 else 1.0
    entry = st.one_of(st.sampled_from(ODD), st.floats(-16, 16), st.floats(-most, most))
    size = draw(st.integers(1, 11))
    vectors = st.lists(entry, min_size=size, max_size=size)
    terms = [
        (torch.tensor(draw(vectors), dtype=torch.float64).to(dtype), draw(weights))
        for _ in range(draw(st.integers(1, 5)))
    ]
    leaving = draw(st.lists(st.sampled_from(range(len(terms))), unique=True))
    return terms, [terms[i] for i in leaving], float(draw(st.integers(1, 12)))


def outcome(terms, leaving, divisor, device, *, kept=True):
    """The bytes of delta, limbs and bounds after both changes, or the error that was raised."""
    there = [[(vector.to(device), weight) for vector, weight in of] for of in (terms, leaving)]
    total = Accumulator(len(terms[0][0]), terms[0][0].dtype, kept=kept, device=device)
    try:
        found = [total.change(there[0], divisor=divisor)]
        if kept:
            found.append(total.change([], there[1], divisor=divisor))
    except Overflow as error:
        return type(error), str(error)
    limbs = total._limbs if kept else []
    return [bytes(x.cpu().view(torch.uint8).numpy()) for x in [*found, *limbs]], total.parts


@few
@given(data=st.data())
@dtypes
def test_a_device_gives_the_bits_of_the_processor(device, dtype, data):
    terms, leaving, divisor = data.draw(sums(dtype))
    assert outcome(terms, leaving, divisor, device) == outcome(terms, leaving, divisor, HOST)
    alone = [outcome(terms, [], divisor, where, kept=False) for where in (device, HOST)]
    assert alone[0] == alone[1]


@few
@given(data=st.data())
@dtypes
def test_limbs_on_a_device_hold_the_exact_sum_in_any_order(device, dtype, data):
    terms, leaving, _ = data.draw(sums(dtype))
    terms = [term for term in terms if abs(term[1]) <= 8]
    leaving = [term for term in leaving if abs(term[1]) <= 8]
    shuffled = data.draw(st.permutations(terms))
    size = len((terms or [(torch.zeros(1), 1.0)])[0][0])
    total = Accumulator(size, dtype, device=device)
    for term in shuffled:
        total.change([(term[0].to(device), term[1])])
    total.change([], [(vector.to(device), weight) for vector, weight in leaving])
    for k in range(size):
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 2.0**15])
@pytest.mark.parametrize("weight", [1.0, -3.0, 1e34])
@dtypes
def test_a_device_refuses_in_the_words_of_the_processor(device, dtype, weight, bad):
    x = torch.ones(7, dtype=dtype)
    x[5] = bad * (2.0**15 if bad == 2.0**15 and dtype == torch.float64 else 1)
    case = [(torch.ones_like(x), 0.5), (x, weight)], [], 1.0
    found = outcome(*case, device)
    assert found == outcome(*case, HOST)
    assert found[0] is Overflow


@dtypes
def test_vectors_of_no_entries_and_changes_of_no_parts_are_fine_on_a_device(device, dtype):
    nothing = torch.empty(0, dtype=dtype)
    assert outcome([(nothing, 1.0)], [], 1.0, device) == outcome([(nothing, 1.0)], [], 1.0, HOST)
    assert Accumulator(5, dtype, device=device).change([]).tolist() == [0.0] * 5


@dtypes
def test_vectors_that_begin_anywhere_in_memory_are_summed_alike(device, dtype):
    room = torch.randn(64, generator=torch.Generator().manual_seed(1)).to(dtype)
    terms = [(room[start : start + 9], 0.3) for start in (0, 1, 3, 16)]
    moved = room.to(device)
    there = [(moved[start : start + 9], 0.3) for start in (0, 1, 3, 16)]
    found = Accumulator(9, dtype, device=device).change(there).cpu()
    assert torch.equal(found, Accumulator(9, dtype).change(terms))
