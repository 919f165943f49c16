"""The arithmetic of this machine: what the last bits of floats depend on, besides the data.

Bits that were recorded on another kind of machine say nothing here, so a test that compares bits
asks first whether `circumstances()` are those of the record.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import tangent
from tangent.spaces import reproducibility


def circumstances() -> dict[str, str]:
    """Return what names this process's arithmetic: libraries, threads, processor, and its bits."""
    return {
        "passes": tangent.environment(torch.device("cpu")),
        "processor": reproducibility.processor(),
        "operations": operations(),
    }


def difference(recorded: dict[str, str]) -> str | None:
    """Return how this machine's arithmetic differs from the recorded one; None if it does not."""
    here = circumstances()
    different = [
        f"{name} {here.get(name)!r}, recorded {value!r}"
        for name, value in recorded.items()
        if here.get(name) != value
    ]
    return "; ".join(different) or None


def sha256(*tensors: Tensor) -> str:
    """Return the SHA-256 of the tensors' types, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def operations() -> str:
    """Return one hash over the results of the operations that passes and solutions are made of."""
    images = reproducibility.hash_images(32)
    rows = images.reshape(-1, 96)  # (256, 96)
    filters = rows.reshape(-1)[: 32 * 3 * 9].reshape(32, 3, 3, 3)
    gram = (rows.double().T @ rows.double()) + torch.eye(96, dtype=torch.float64)
    tokens = rows.reshape(8, 4, 8, 96)
    results: list[Any] = [
        F.conv2d(images, filters, padding=1),
        F.conv2d(images.to(memory_format=torch.channels_last), filters, padding=1),
        rows @ rows.T,
        gram,
        torch.linalg.cholesky(gram),
        torch.cholesky_solve(rows[:96].double().T, torch.linalg.cholesky(gram)),
        torch.linalg.eigvalsh(gram),
        F.layer_norm(rows, (96,)),
        F.gelu(rows),
        torch.softmax(rows, 1),
        torch.exp(rows.double() / 8),
        F.scaled_dot_product_attention(tokens, tokens, tokens),
        rows.sum(0),
        rows.square().mean(),
    ]
    return sha256(*results)
