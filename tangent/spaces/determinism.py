"""Computations whose bits are the same each time on a device, or the reason why they may differ.

The CPU needs nothing for it. CUDA has forms of some operations that add numbers in the order in
which threads happen to end, or that are chosen by measuring: cuDNN's gradients of weights are such.
torch can be told to use none of them, and refuses operations that have no other form.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

import torch
import torch.utils.deterministic
from torch.backends import cudnn

Result = TypeVar("Result")

# A module whose one attribute torch makes a property of: type checkers see none.
_filling: Any = torch.utils.deterministic

_lock = Lock()
_state: dict[str, Any] = {"depth": 0}


def run_deterministically(
    device: torch.device, run: Callable[[], Result]
) -> tuple[Result, str | None]:
    """Return what `run` returns, and why it may return other bits the next time, or None.

    Where an operation has no deterministic form, `run` is called again and may use any: it must
    begin anew each time.
    """
    try:
        with deterministic(device):
            return run(), None
    except RuntimeError as error:
        reason = refusal(error)
        if reason is None:
            raise
    return run(), reason


def told_of(reason: str | None) -> dict[str, Any]:
    """Return what the metrics of a component say of the reason, if there is one."""
    return {} if reason is None else {"not_repeatable": reason}


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let torch use deterministic forms alone in this block, in the whole process.

    Blocks may overlap in several threads: the last one restores what the first one found. On the
    CPU nothing changes.

    Raises:
        RuntimeError: of torch, in the block, at an operation without such a form; see `refusal`.
    """
    if device.type == "cpu":
        yield
        return
    with _lock:
        if not _state["depth"]:
            _state["found"] = _settings()
            # Filling what is about to be written would only cost time.
            _set((True, False), (True, False), False)
        _state["depth"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["depth"] -= 1
            if not _state["depth"]:
                _set(*_state.pop("found"))


def refusal(error: RuntimeError) -> str | None:
    """Return the reason if torch refused an operation that has no deterministic form, else None."""
    text = str(error)
    if "use_deterministic_algorithms(True)" not in text:
        return None
    if "CuBLAS" in text:
        return (
            "CUDA was started before the space was opened, without CUBLAS_WORKSPACE_CONFIG: open "
            "the space first, or set the variable to :4096:8"
        )
    return f"{text.split(maxsplit=1)[0]} has no deterministic form on this device"


def _settings() -> tuple[tuple[bool, bool], tuple[bool, bool], bool]:
    modes = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills: bool = _filling.fill_uninitialized_memory
    return (modes, warns), (cudnn.deterministic, cudnn.benchmark), fills


def _set(modes: tuple[bool, bool], convolutions: tuple[bool, bool], fills: bool) -> None:
    torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
    cudnn.deterministic, cudnn.benchmark = convolutions
    _filling.fill_uninitialized_memory = fills
