"""Readers of rows: the same bits from the host, through pinned places and on the device."""

import pytest
import torch

from tangent.spaces import uploads
from tangent.training import row_readers

HERE = torch.device("cpu")
ROWS, COLUMNS = torch.randn(11, 3, 2), torch.arange(11) % 4


class Event:
    def synchronize(self) -> None:
        pass


@pytest.fixture(params=["OnHost", "Streamed", "OnDevice"])
def reader(request, monkeypatch) -> row_readers.RowReader:
    monkeypatch.setattr(uploads, "_marked", lambda _: Event())  # a processor has no transfers
    kind = getattr(row_readers, request.param)
    return kind(ROWS, COLUMNS) if request.param == "OnDevice" else kind(ROWS, COLUMNS, HERE)


def test_the_parts_of_all_rows_are_the_rows_in_order(reader):
    found = [reader.read(part) for part in reader.parts(4)]
    assert [len(rows) for rows, _ in found] == [len(columns) for _, columns in found] == [4, 4, 3]
    assert torch.equal(torch.cat([rows for rows, _ in found]), ROWS)
    assert torch.equal(torch.cat([columns for _, columns in found]), COLUMNS)


def test_an_index_gives_its_rows_placed_or_not_and_whole_or_in_parts(reader):
    index = torch.tensor([7, 0, 10, 3, 3])
    for given in (index, reader.placed(index)):
        for part, expected in zip(given.split(2), index.split(2), strict=True):
            rows, columns = reader.read(part)
            assert torch.equal(rows, ROWS[expected]) and torch.equal(columns, COLUMNS[expected])


def test_a_slice_gives_its_rows(reader):
    rows, columns = reader.read(slice(2, 9))
    assert torch.equal(rows, ROWS[2:9]) and torch.equal(columns, COLUMNS[2:9])


def test_the_reader_is_chosen_by_where_the_rows_lie():
    def chosen(device: str, are_resident: bool) -> type:
        on = torch.device(device)
        return type(row_readers.reader_of(ROWS, COLUMNS, on, are_resident=are_resident))

    assert chosen("cpu", False) is row_readers.OnHost
    assert chosen("mps", False) is row_readers.OnHost
    assert chosen("cuda", False) is row_readers.Streamed
    assert chosen("cuda", True) is chosen("cpu", True) is row_readers.OnDevice
