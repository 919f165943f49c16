"""Probe images: one fixed batch for every space of a size, and the hash of what it is answered.

Two services with the same components answer the batch with the same bytes, on like hardware; so a
hash of the answer tells, without an image or a label in it, whether they are the same model.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

COUNT = 8  # images, in one batch
SEED = b"tangent-composer probe images 1"
CPUS = Path("/proc/cpuinfo")


def hash_images(size: int) -> Tensor:
    """The probe images (8, 3, size, size) float32: uniform noise in [-2, 2), as if normalised.

    Bytes of SHAKE-256 over 64, less 2: exact, and the same with every version of every library.
    """
    count = COUNT * 3 * size * size
    drawn = hashlib.shake_256(SEED).digest(count)
    pixels = np.frombuffer(drawn, dtype=np.uint8).astype(np.float32) / 64 - 2
    return torch.from_numpy(pixels.reshape(COUNT, 3, size, size))


def answer_hash(labels: Sequence[str], logits: np.ndarray) -> str:
    """SHA-256 of the labels as JSON, a line end, and the logits as little-endian float32."""
    if logits.shape != (COUNT, len(labels)):
        raise ValueError(f"logits {logits.shape} are not those of {COUNT} x {len(labels)} labels")
    head = json.dumps(list(labels), separators=(",", ":"), ensure_ascii=False)
    rows = np.ascontiguousarray(logits, dtype="<f4").tobytes()
    return hashlib.sha256(head.encode() + b"\n" + rows).hexdigest()


@cache
def processor() -> str:
    """The processor's model, by whose caches sums are split; empty where no file tells it."""
    try:
        lines = CPUS.read_text().splitlines()
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else ""


def environment(device: torch.device) -> str:
    """Two processes find the same bits only if this is the same in both."""
    capability = torch.backends.cpu.get_cpu_capability()  # which also solves what a GPU has summed
    where = f"{platform.machine()} {capability} {torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)}, {where}"
    return f"{where}, torch {torch.__version__}, timm {version('timm')}"
