"""Tables as CSV are read back as they were, and no cell of them is a formula."""

import csv
import io

import pytest

from tests.support.page_modules import called


def written(rows: list[list]) -> str:
    return called("evaluate/csv.js", "csvOf", rows)


def test_cells_with_commas_quotes_and_lines_are_read_back():
    rows = [["a,b", 'say "x"', "two\nlines", "plain", "ünïcode"], ["", " ", "\u2028", "7", "x"]]
    assert list(csv.reader(io.StringIO(written(rows), newline=""))) == rows


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", '=HYPERLINK("x")'])
def test_a_cell_that_begins_like_a_formula_gets_a_quote(cell):
    assert list(csv.reader(io.StringIO(written([[cell]]), newline=""))) == [["'" + cell]]


def test_numbers_stay_numbers():
    assert written([[-1.5, 3]]) == "-1.5,3\r\n"
