"""What a process fixes once a space is open on a GPU: float32 or TF32, and cuBLAS' buffers."""

import os
import subprocess
import sys

import pytest
import torch

import tangent
from tangent import errors
from tangent.spaces import devices, reproducibility
from tests.support.devices import space_on
from tests.support.models import backbone, images, plain_features, relative, untouched

CUDA = torch.device("cuda")  # by name alone: nothing is asked of it
MATRICES, CONVOLUTIONS = torch.backends.cuda.matmul, torch.backends.cudnn
NEW = CONVOLUTIONS.conv, CONVOLUTIONS.rnn, MATRICES


@pytest.fixture
def choices(monkeypatch):
    """torch's switches as they were found, and no choice made yet."""
    found = [each.fp32_precision for each in NEW]
    former = CONVOLUTIONS.allow_tf32, MATRICES.allow_tf32
    monkeypatch.setattr(devices, "_tf32", None)
    yield
    CONVOLUTIONS.allow_tf32, MATRICES.allow_tf32 = former
    for each, precision in zip(NEW, found, strict=True):
        each.fp32_precision = precision


def switches() -> tuple:
    of_the_cpu = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv
    named = [each.fp32_precision for each in (*NEW, *of_the_cpu)]
    return (CONVOLUTIONS.allow_tf32, MATRICES.allow_tf32, *named)


@pytest.mark.parametrize("allowed", [False, True])
def test_float32_is_float32_on_a_gpu_unless_tf32_is_allowed(allowed, choices):
    CONVOLUTIONS.allow_tf32, MATRICES.allow_tf32 = True, False  # as torch has them by itself
    devices.choose_tf32(CUDA, allowed=allowed)
    name = "tf32" if allowed else "ieee"
    assert switches() == (allowed, allowed, name, name, name, "none", "none")
    assert reproducibility.has_tf32() == allowed


@pytest.mark.parametrize("name", ["tf32", "ieee"])
def test_the_choice_holds_whatever_was_set_by_torchs_new_names_before(name, choices):
    MATRICES.fp32_precision = CONVOLUTIONS.conv.fp32_precision = name
    devices.choose_tf32(CUDA, allowed=False)
    assert switches()[:5] == (False, False, "ieee", "ieee", "ieee")  # torch refuses to tell a mix


def test_spaces_of_one_process_cannot_differ_in_tf32(choices):
    devices.choose_tf32(CUDA, allowed=False)
    devices.choose_tf32(CUDA, allowed=False)
    with pytest.raises(ValueError, match=r"with tf32=False, .* with tf32=True in a process of the"):
        devices.choose_tf32(CUDA, allowed=True)
    assert not reproducibility.has_tf32()


@pytest.mark.parametrize("allowed", [False, True])
def test_a_space_on_the_cpu_changes_no_switch(allowed, choices):
    before = switches()
    tangent.Space(backbone("mini"), "head", tf32=allowed)
    assert switches() == before and devices._tf32 is None


@pytest.mark.parametrize(("allowed", "products"), [(False, "float32"), (True, "TF32")])
def test_the_environment_says_how_a_gpu_multiplies(allowed, products, choices, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Card 9")
    devices.choose_tf32(CUDA, allowed=allowed)
    on_cpu, told = (tangent.environment(torch.device(name)) for name in ("cpu", "cuda"))
    assert told == f"Card 9, {products} products, {on_cpu}"
    assert "TF32" not in on_cpu and "products" not in on_cpu


def test_cublas_is_told_its_buffers_before_cuda_starts_and_never_against_a_users_choice(
    monkeypatch,
):
    started = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(started))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    devices._fix_buffers(torch.device("cpu"))
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    devices._fix_buffers(CUDA)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    devices._fix_buffers(CUDA)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    started.append(True)  # too late: torch then refuses to call its products deterministic
    devices._fix_buffers(CUDA)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_importing_tangent_changes_no_switch_of_torch():
    code = "import torch; b = torch.backends; before = b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32"
    code += "\nimport tangent.spaces.space, tangent.training.fit, os"
    code += "\nassert before == (b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32) == (True, False)"
    code += "\nassert 'CUBLAS_WORKSPACE_CONFIG' not in os.environ"
    clean = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, env=clean
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["vit", "resnet_bottleneck", "convnext", "mobilenet"])
def test_float32_features_are_as_near_to_float64_on_every_device(name, device):
    where = space_on(device, name, "head", dtype=torch.float32)
    x = images(where.image_size, 3)
    psi = where.model(x.to(device, torch.float32)).double().cpu()
    assert relative(psi, plain_features(untouched(name), {}, x)) < 2e-5  # TF32: 1e-3 and more


def test_a_gpu_that_is_not_there_is_refused_whatever_tf32_is():
    with pytest.raises(errors.UnknownDevice, match="device 'cuda:99' here"):
        tangent.Space(backbone("mini"), "head", device="cuda:99", tf32=True)


@pytest.mark.parametrize(("held", "used"), [(0, 0), (700, 500)])
def test_free_memory_is_what_the_device_has_and_what_torch_can_give_out_again(
    held, used, monkeypatch
):
    class Memory:
        mem_get_info = staticmethod(lambda _: (1000, 5000))
        memory_reserved = staticmethod(lambda _: held)
        memory_allocated = staticmethod(lambda _: used)

    monkeypatch.setattr(torch, "get_device_module", lambda _: Memory)
    assert devices.free_bytes(torch.device("cuda")) == 1000 + held - used


def test_no_memory_is_free_where_torch_cannot_tell():
    assert devices.free_bytes(torch.device("cpu")) == 0
