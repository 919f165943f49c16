"""Hash images: one fixed batch for each image size, and the hash of a model's answer to it.

Two services with the same components answer the batch with the same bytes on the same hardware. So
equal hashes show that two models are the same, without showing an image or a label.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

COUNT = 8  # images, in one batch
SEED = b"tangent-composer probe images 1"
CPUS = Path("/proc/cpuinfo")


def hash_images(size: int) -> Tensor:
    """The hash images (8, 3, size, size) float32: uniform noise in [-2, 2), as if normalised.

    The bytes of SHAKE-256, divided by 64, minus 2: exact and the same with every library version.
    """
    count = COUNT * 3 * size * size
    drawn = hashlib.shake_256(SEED).digest(count)
    pixels = np.frombuffer(drawn, dtype=np.uint8).astype(np.float32) / 64 - 2
    return torch.from_numpy(pixels.reshape(COUNT, 3, size, size))


def answer_hash(labels: Sequence[str], logits: np.ndarray) -> str:
    """SHA-256 of the labels as JSON, a line end, and the logits as little-endian float32."""
    if logits.shape != (COUNT, len(labels)):
        raise ValueError(
            f"logits have shape {logits.shape}, expected {(COUNT, len(labels))} (images, labels)"
        )
    head = json.dumps(list(labels), separators=(",", ":"), ensure_ascii=False)
    rows = np.ascontiguousarray(logits, dtype="<f4").tobytes()
    return hashlib.sha256(head.encode() + b"\n" + rows).hexdigest()


@cache
def processor() -> str:
    """The processor's model, as libraries split sums by its caches; empty where it is unknown."""
    try:
        lines = CPUS.read_text().splitlines()
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else ""


def environment(device: torch.device) -> str:
    """The hardware and libraries on which a result's bits depend; compare it between processes."""
    capability = torch.backends.cpu.get_cpu_capability()  # which also solves what a GPU has summed
    where = f"{platform.machine()} {capability} {torch.get_num_threads()} threads"
    if device.type == "cuda":
        products = "TF32" if has_tf32() else "float32"
        where = f"{torch.cuda.get_device_name(device)}, {products} products, {where}"
    return f"{where}, torch {torch.__version__}, timm {version('timm')}"


def has_tf32() -> bool:
    """Return whether torch may round float32 to TF32 on a GPU, in convolutions or products."""
    convolutions: Any = torch.backends.cudnn  # its parts are made when it is loaded
    backends = convolutions.conv, torch.backends.cuda.matmul
    return any(backend.fp32_precision == "tf32" for backend in backends)
