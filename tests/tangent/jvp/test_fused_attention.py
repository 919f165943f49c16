"""The choice of attention's kernel: one that agrees with the rule, and where it may be used."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

import tangent
from tangent.jvp import fused_attention
from tangent.jvp.dual import Duals
from tangent.jvp.fused_attention import fused_kernel, fused_operations
from tests.support.models import backbone, images

ROOT = Path(__file__).resolve().parents[3]
HALF = (torch.bfloat16, torch.float16)
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton, which CUDA builds of torch bring, is not installed"
)


class Kernel:
    """A kernel of torch's operations that counts its calls, and may be wrong."""

    def __init__(self, fault=1.0, failure=None):
        self.calls, self.fault, self.failure = 0, fault, failure

    def fits(self, query, key, value):
        return query.ndim == 4 and query.shape == key.shape == value.shape

    def attention(self, query, key, value, moving, scale):
        self.calls += 1
        if self.failure:
            raise self.failure

        def plain(q, k, v):
            return (scale * q @ k.mT).softmax(-1) @ v

        own = [x.double() for x in (query, key, value)]
        moved = []
        for along in moving:
            parts = [
                torch.zeros_like(x) if d is None else d.double()
                for x, d in zip(own, along, strict=True)
            ]
            moved.append(torch.func.jvp(plain, tuple(own), tuple(parts))[1].to(query.dtype))
        return plain(*own).to(query.dtype), [one * self.fault for one in moved]


@pytest.fixture
def device_has(monkeypatch):
    """Let this machine's device have a kernel."""

    def let(kernel):
        monkeypatch.setitem(fused_attention.FUSED, "cpu", "the.kernel")
        importing = SimpleNamespace(import_module=lambda _: kernel)
        monkeypatch.setattr(fused_attention, "importlib", importing)
        return kernel

    fused_attention._proven.cache_clear()
    yield let
    fused_attention._proven.cache_clear()


def numbers(count=3, dtype=torch.bfloat16, shape=(2, 2, 5, 16)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(count)]


def along_two_directions(dtype, **keywords):
    """Return attention's value and tangents by the rule, and by torch's derivative in float64."""
    q, k, v, dq, dk, dv, other = numbers(7, dtype)
    with Duals([(q, [dq, other]), (k, [dk, dk]), (v, [dv, -dv])]) as duals:
        found = F.scaled_dot_product_attention(q, k, v, **keywords)
    exact = tuple(x.double() for x in (q, k, v))
    expected = []
    for along in ((dq, dk, dv), (other, dk, -dv)):
        moving = tuple(x.double() for x in along)
        value, tangent = torch.func.jvp(plain, exact, moving)
        expected = [value, *expected[1:], tangent]
    return [found, *(duals.of(found) or [])], expected


def plain(q, k, v):
    return (0.25 * q @ k.mT).softmax(-1) @ v


def near(found, expected) -> bool:
    return all(
        (one.double() - other).norm() <= 2e-2 * other.norm()
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("dtype", HALF)
def test_the_rule_is_computed_by_a_kernel_that_proves_itself(device_has, dtype):
    kernel = device_has(Kernel())
    assert near(*along_two_directions(dtype))
    assert kernel.calls == 2  # once to prove itself
    assert near(*along_two_directions(dtype))
    assert kernel.calls == 3


def test_what_is_not_allowed_within_is_allowed_again_after_it(device_has):
    device_has(Kernel())
    with fused_operations(allowed=False):
        assert fused_kernel(*numbers()) is None
        with fused_operations(allowed=True):
            assert fused_kernel(*numbers()) is not None
        assert fused_kernel(*numbers()) is None
    assert fused_kernel(*numbers()) is not None


@pytest.mark.parametrize(("compile", "allowed"), [("off", False), ("auto", True)])
def test_a_space_uses_fused_kernels_unless_it_compiles_nothing(device_has, compile, allowed):
    device_has(Kernel())
    where = tangent.Space(backbone("mini"), "last-block", compile=compile)
    found, rows = [], where.rows(images(where.image_size, 2))
    where.engine.push = lambda *_: found.append(fused_kernel(*numbers()) is not None) or (rows, [])
    where.push(rows, [])
    assert found == [allowed]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("fault", [1.05, float("nan"), 0.0])
def test_a_kernel_that_is_wrong_is_not_used_and_told(device_has, caplog, fault, dtype):
    kernel = device_has(Kernel(fault))
    assert near(*along_two_directions(dtype))
    assert near(*along_two_directions(dtype))
    assert kernel.calls == 1
    assert "attention without the fused kernel, whose error here is" in caplog.text


def test_a_kernel_that_fails_is_not_used_and_told(device_has, caplog):
    device_has(Kernel(failure=RuntimeError("no compiler")))
    assert fused_kernel(*numbers()) is None
    assert "attention without the fused kernel, which fails: no compiler" in caplog.text


def test_a_device_without_triton_uses_the_rule_and_nothing_is_said(device_has, caplog):
    device_has(Kernel(failure=ModuleNotFoundError("triton")))
    assert fused_kernel(*numbers()) is None
    assert not caplog.records


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_the_rule_s(device_has, dtype, monkeypatch):
    kernel = device_has(Kernel())
    assert fused_kernel(*numbers(dtype=dtype)) is None
    rounding = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))
    monkeypatch.setattr(torch.backends, "cuda", rounding)
    assert (fused_kernel(*numbers(dtype=dtype)) is None) == (dtype == torch.float64)
    assert kernel.calls == (dtype == torch.float32)


def test_masks_and_shapes_that_the_kernel_lacks_are_the_rule_s(device_has):
    kernel = device_has(Kernel())
    q, k, v = numbers()
    assert fused_kernel(q[0], k[0], v[0]) is None
    calls = kernel.calls
    along_two_directions(torch.bfloat16, attn_mask=torch.zeros(5, 5, dtype=torch.bfloat16))
    assert kernel.calls == calls


def test_a_processor_has_no_fused_kernel():
    assert fused_kernel(*numbers()) is None


def run(*arguments, **variables) -> str:
    """Run Python with these arguments and environment variables; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    ran = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@needs_triton
def test_the_kernel_is_right_in_triton_s_interpreter():
    file = str(Path(__file__).with_name("test_triton_attention.py"))
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", file, TRITON_INTERPRET="1")
    assert re.search(r"\d+ passed", said)


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tangent.jvp import triton_attention as room

kernel, aligned = room._attention, [["tt.divisibility", 16]]
chosen = {"MOVES_Q": True, "MOVES_K": True, "MOVES_V": True, "STORES": True, "HOW": "ieee"}
chosen |= {"WIDTH": 64, "PADDED": 64, "ROWS": room.ROWS, "RUN": room.KEYS}
signature, constants, about = {}, {}, {}
for at, name in enumerate(kernel.arg_names):
    if name in chosen:
        signature[name], constants[at,] = "constexpr", chosen[name]
    elif name.endswith("_at"):
        signature[name] = ("i32",) * 3
        about |= {(at, axis): aligned for axis in range(3)}
    elif name in ("heads", "queries", "keys"):
        signature[name] = "i32"
    elif name == "scale":
        signature[name] = "fp32"
    else:
        signature[name], about[at,] = "*bf16", aligned
source = ASTSource(kernel, signature, constants, about)
print(triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"])
"""


@needs_triton
def test_a_gpu_s_code_multiplies_on_tensor_cores_with_sums_in_float32():
    code = run("-c", COMPILED)
    products = set(re.findall(r"wgmma\.mma_async\.\S+", code))
    assert products and all(".f32.bf16.bf16" in product for product in products)
    assert "ld.local" not in code  # all sums of a block stay in registers
