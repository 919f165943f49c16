"""Devices by the names that settings give them, and what a process fixes once it computes on one.

On the GPU, torch by itself rounds float32 to TF32 (10 bits of fraction) in convolutions and not in
products of matrices. Here float32 is float32 in both, or TF32 is allowed in both.
"""

import os
from typing import Any

import torch

from tangent.errors import UnknownDevice

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# Of this size and number on the newest cards too, so nothing gets slower: 32 MiB in all.
FIXED_BUFFERS = ":4096:8"

_tf32: bool | None = None  # the choice of this process, once a space is open on a GPU


def device_of(name: str, *, tf32: bool | None = None) -> torch.device:
    """Return the torch device of this name; `auto` is the GPU where there is one.

    tf32: as of `choose_tf32`, for a device that is about to compute; None leaves that open.

    Raises:
        UnknownDevice: torch knows no such device, or this machine has none.
        ValueError: as `choose_tf32`.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        _fix_buffers(device)
        torch.zeros(1, device=device).item()  # a device that is not there, or holds no numbers
    except Exception as error:  # each of torch's back ends has errors of its own
        raise UnknownDevice(
            f"torch cannot compute on a device {name!r} here: use auto, cpu, or cuda on a machine "
            "with a GPU"
        ) from error
    if tf32 is not None:
        choose_tf32(device, allowed=tf32)
    return device


def choose_tf32(device: torch.device, *, allowed: bool) -> None:
    """Have float32 mean float32 on a GPU, or TF32 where that is allowed, in the whole process.

    torch keeps this choice for a process and reads it at every operation: two spaces of one process
    cannot differ in it. On other devices nothing changes, above all not on the CPU.

    Raises:
        ValueError: a space of this process was opened with the other choice.
    """
    global _tf32
    if device.type != "cuda":
        return
    if _tf32 not in (None, allowed):
        raise ValueError(
            f"this process has opened a space on the GPU with tf32={_tf32}, and the choice is that "
            f"of the whole process: open spaces with tf32={allowed} in a process of their own"
        )
    _tf32 = allowed
    # torch refuses to tell its state where the former names and the new ones disagree: set both.
    convolutions: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    convolutions.allow_tf32 = products.allow_tf32 = allowed
    for backend in (convolutions.conv, convolutions.rnn, products):
        backend.fp32_precision = "tf32" if allowed else "ieee"


def free_bytes(device: torch.device) -> int:
    """Return the bytes that torch can still take on a device; 0 where it cannot tell.

    What it holds there for further use counts: it gives that out before it asks for more.
    """
    memory = torch.get_device_module(device)
    if not hasattr(memory, "mem_get_info"):
        return 0
    free = int(memory.mem_get_info(device)[0])
    if not hasattr(memory, "memory_reserved"):
        return free
    return free + int(memory.memory_reserved(device) - memory.memory_allocated(device))


def _fix_buffers(device: torch.device) -> None:
    """Have cuBLAS use buffers of fixed size and number, without which its sums may vary.

    It reads the variable when CUDA starts. A process that has started CUDA keeps what it has:
    torch then refuses to call its products deterministic, and trainings say so.
    """
    if device.type == "cuda" and not torch.cuda.is_initialized():
        os.environ.setdefault(WORKSPACE, FIXED_BUFFERS)
