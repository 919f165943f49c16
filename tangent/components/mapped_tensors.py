"""The tensors of a safetensors file, mapped instead of read, and many tensors as one vector.

The format stores tensors without gaps, sorted by the size of their type and then by name. So the
directions of a component, all of one type, are one contiguous range of its file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "U8": torch.uint8,
}
LINE = 64  # bytes


def empty(size: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised vector, aligned to a cache line, in large pages where the system has them.

    The first write to fresh memory costs one fault per page. numpy requests pages of 2 MiB, torch
    does not. But numpy does not align to cache lines, and a vector access then touches two lines.
    """
    count = size * dtype.itemsize
    data = torch.from_numpy(np.empty(count + LINE, np.uint8))
    start = -data.data_ptr() % LINE
    return data[start : start + count].view(dtype)


def mapped(path: Path, header: Mapping[str, Any], begin: int) -> dict[str, Tensor]:
    """Map the tensors of a file with this `header_of`; those of other types than TYPES are skipped.

    Pages are shared with the page cache and read when touched. Writing to a tensor copies the page
    and does not change the file. The map lives as long as any of its tensors: a tensor that is kept
    keeps the bytes of a deleted file.
    """
    size = path.stat().st_size
    data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)[begin:]
    tensors = {}
    for name, about in header.items():
        dtype = TYPES.get(about["dtype"]) if name != "__metadata__" else None
        if dtype is not None:
            start, stop = about["data_offsets"]
            tensors[name] = _typed(data[start:stop], dtype).view(about["shape"])
    return tensors


def _typed(data: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes as numbers; copied where the writer of the file did not align them."""
    if data.storage_offset() % dtype.itemsize:
        data = data.clone()
    return data.view(dtype)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All entries in order as one vector: a view if the tensors adjoin in memory, else a copy."""
    parts = [tensor.detach() for tensor in tensors]
    if not parts:
        return torch.empty(0)
    first, total = parts[0], sum(part.numel() for part in parts)
    if _adjoin(parts):
        return first.as_strided((total,), (1,))
    return torch.cat([part.reshape(-1) for part in parts])


def _adjoin(parts: list[Tensor]) -> bool:
    """True if every tensor begins in memory where the previous tensor ends."""
    first = parts[0]
    base, expected = first.untyped_storage().data_ptr(), first.storage_offset()
    for part in parts:
        if part.dtype != first.dtype or not part.is_contiguous():
            return False
        if part.untyped_storage().data_ptr() != base or part.storage_offset() != expected:
            return False
        expected += part.numel()
    return True
