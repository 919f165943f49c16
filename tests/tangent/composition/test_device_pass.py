"""The choice of a device's pass: only one that has the processor's bits, the fastest of these."""

import os
import re
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tangent.composition import device_sum
from tangent.composition.device_sum import pass_on
from tangent.composition.exact_sum import HOST, _magics, summing_device

ROOT = Path(__file__).resolve().parents[3]
HERE = torch.device("cpu", 0)  # is not HOST, so it is asked as a device is
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton, which CUDA builds of torch bring, is not installed"
)
MODULE = "tangent.composition.triton_sum"


@pytest.fixture(autouse=True)
def forgotten():
    """Choose anew in every test, and for those after it."""
    pass_on.cache_clear()
    yield
    pass_on.cache_clear()


def kernel(monkeypatch, change):
    """Let the fused kernel be this function."""
    import tangent.composition as room

    module = types.ModuleType(MODULE)
    module.change = change
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(room, "triton_sum", module, raising=False)


def chosen(dtype=torch.float32):
    return pass_on(HERE, dtype, _magics(dtype))


def test_a_kernel_with_the_bits_of_torch_s_operations_is_taken(monkeypatch):
    def same(*args, **keywords):
        return device_sum.change(*args, **keywords)

    kernel(monkeypatch, same)
    assert chosen() is same


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fault", ["fused", "inverse", "limb", "magnitude", "flushed"])
def test_a_kernel_with_other_bits_is_not_taken_and_told(monkeypatch, caplog, fault, dtype):
    def other(terms, limbs, magics, divisor, out, *, fresh):
        if fault == "fused":  # product and sum rounded once: half a unit of the product remains
            terms = [(vector, weight * (1 + 2**-20), sign) for vector, weight, sign in terms]
        found = device_sum.change(terms, limbs, magics, divisor, out, fresh=fresh)
        if fault == "inverse":
            out.mul_(divisor).mul_(1 / divisor + (2e-3 if dtype.itemsize == 2 else 1e-7))
        if fault == "limb" and limbs:
            limbs[-1][-1] += 2.0**-37
        if fault == "flushed":
            out[out.abs() < 1e-3] = 0
        return [most * (0.5 if fault == "magnitude" else 1) for most in found]

    kernel(monkeypatch, other)
    assert chosen(dtype) is device_sum.change
    assert "composing without the fused kernel, whose bits on cpu:0 are others" in caplog.text


def test_a_kernel_that_fails_costs_speed_and_is_told(monkeypatch, caplog):
    def broken(*_args, **_keywords):
        raise RuntimeError("no compiler")

    kernel(monkeypatch, broken)
    assert chosen() is device_sum.change
    assert "composing without the fused kernel, several times slower: no compiler" in caplog.text


def test_without_triton_torch_s_operations_sum_and_nothing_is_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.delattr("tangent.composition.triton_sum", raising=False)
    assert chosen() is device_sum.change
    assert not caplog.records


def test_a_device_without_float64_leaves_sums_to_the_processor(caplog):
    meta = torch.device("meta")  # has no numbers at all
    assert summing_device(meta, torch.float32) == HOST
    assert "composing on the processor, as meta cannot" in caplog.text


def test_a_device_that_rounds_in_its_own_way_leaves_sums_to_the_processor(monkeypatch, caplog):
    trial = device_sum._trial

    def own(way, device, *rest):
        return trial(way, device, *rest) + ([] if device == HOST else ["another bit"])

    monkeypatch.setattr(device_sum, "_trial", own)
    assert chosen() is None
    assert "composing on the processor: cpu:0 rounds float64 in its own way" in caplog.text


def test_a_processor_is_asked_nothing(monkeypatch):
    monkeypatch.setattr("tangent.composition.exact_sum.pass_on", None)
    for name in ("cpu", "cpu:0"):
        assert summing_device(torch.device(name), torch.float32) == HOST


def test_a_pass_waits_for_the_device_once_in_its_last_line():
    terms = [
        (torch.ones(9, device="meta"), 0.5, 1) for _ in range(5)
    ]  # whose numbers none can read
    out = torch.empty(9, device="meta")
    with pytest.raises(NotImplementedError, match="no data") as stopped:
        device_sum.change(terms, [], _magics(out.dtype), 3.0, out, fresh=True)
    (where,) = [one for one in stopped.traceback if one.path.name == "device_sum.py"]
    assert (
        str(where.statement).strip().startswith("return [float(one) for one in torch.stack(most)")
    )


class Divisors(torch.Tensor):
    """A sum that remembers by which values it was divided."""

    seen: ClassVar[list] = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.div, torch.Tensor.__truediv__, torch.div, torch.Tensor.div_):
            cls.seen.append(args[1])
        return super().__torch_function__(func, types, args, kwargs)


def test_a_sum_is_divided_by_a_number_of_the_device_which_rounds_no_inverse():
    limb = torch.zeros(3, dtype=torch.float64).as_subclass(Divisors)
    terms = [(torch.ones(3), 1.0, 1)]
    device_sum.change(terms, [limb], _magics(torch.float32), 3.0, torch.empty(3), fresh=True)
    assert [type(divisor) for divisor in Divisors.seen] == [torch.Tensor]


def run(*arguments, **variables) -> str:
    """Run Python with these arguments and environment variables; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    ran = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@needs_triton
def test_the_kernel_has_the_processor_s_bits_in_triton_s_interpreter():
    file = str(Path(__file__).with_name("test_device_sum.py"))
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", file, TRITON_INTERPRET="1")
    assert re.search(r"\d+ passed", said)


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tangent.composition import triton_sum

kinds = {"places": "*i64", "numbers": "*fp64", "limb": "*fp64", "rest_limb": "*fp64"}
for out, size in (("*fp32", 4), ("*bf16", 2), ("*fp16", 2), ("*fp64", 8)):
    kernel = triton_sum._wide if size == 8 else triton_sum._narrow
    chosen = {"FRESH": False, "KEPT": True, "PARTIAL": False}
    chosen |= {"BOUND": 16 // size, "LENGTH": triton_sum.BLOCK}
    types = kinds | {"out": out, "greatest": "*i64" if size == 8 else "*i32"}
    signature = {n: "constexpr" if n.isupper() else types.get(n, "i32") for n in kernel.arg_names}
    at = {n: i for i, n in enumerate(kernel.arg_names)}
    made = triton.compile(
        ASTSource(
            kernel,
            signature,
            {(at[n],): v for n, v in chosen.items()},
            {(at[n],): [["tt.divisibility", 16]] for n in types if n in at},
        ),
        target=GPUTarget("cuda", 90, 32),
        options={"enable_fp_fusion": False},
    )
    print(made.asm["ptx"])
"""


@needs_triton
def test_a_gpu_s_code_rounds_every_operation_by_itself_and_flushes_nothing():
    code = run("-c", COMPILED)
    assert code.count(".visible .entry") == 4
    assert "div.rn.f64" in code
    for wrong in ("fma.", ".ftz", "div.full", "div.approx", "rcp."):
        assert wrong not in code
    assert "ld.global.v4.b32" in code  # whole lines: a thread reads 16 bytes at once
