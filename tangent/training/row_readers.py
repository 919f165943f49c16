"""Readers of a training's rows: how a batch comes to the device that trains, by where rows lie.

A row goes with the column of its label. All readers give the same bits.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from tangent.spaces.uploads import PinnedPlaces, uploaded

Index = Tensor | slice  # of rows; a slice has both ends


class RowReader(Protocol):
    """Reads rows (n, …) and their columns."""

    def parts(self, size: int) -> Iterator[Index]:
        """Yield indices of all rows in order, `size` at a time."""

    def placed(self, index: Tensor) -> Tensor:
        """Return the index where rows are read with its parts without a wait for the device."""

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        """Return rows and columns on the device that trains."""


class OnHost:
    """Reads rows in the memory of the host, or in a file that is mapped there."""

    def __init__(self, rows: Tensor, columns: Tensor, device: torch.device) -> None:
        self._rows, self._columns, self._device = rows, columns, device

    def parts(self, size: int) -> Iterator[Index]:
        return iter(torch.arange(len(self._rows)).split(size))

    def placed(self, index: Tensor) -> Tensor:
        return index

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        return self._rows[index].to(self._device), self._columns[index].to(self._device)


class Streamed(OnHost):
    """Reads rows of the host for a GPU, through pinned places: no transfer waits for a step."""

    def __init__(self, rows: Tensor, columns: Tensor, device: torch.device) -> None:
        super().__init__(rows, columns, device)
        self._places = PinnedPlaces(device)

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        if isinstance(index, slice):
            index = torch.arange(index.start, index.stop)
        (columns,) = uploaded([self._columns[index]], self._device)
        return self._places.uploaded(self._rows, index), columns


class OnDevice:
    """Reads rows in the memory of the device that trains."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._rows = rows
        (self._columns,) = uploaded([columns], rows.device)

    def parts(self, size: int) -> Iterator[Index]:
        count = len(self._rows)
        return (slice(start, min(start + size, count)) for start in range(0, count, size))

    def placed(self, index: Tensor) -> Tensor:
        return uploaded([index], self._rows.device)[0]

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        if isinstance(index, Tensor):
            index = self.placed(index)
        return self._rows[index], self._columns[index]


def reader_of(
    rows: Tensor, columns: Tensor, device: torch.device, *, are_resident: bool
) -> RowReader:
    """Return the reader for rows that lie in the memory of the device, or on the host."""
    if are_resident:
        return OnDevice(rows, columns)
    return (Streamed if device.type == "cuda" else OnHost)(rows, columns, device)
