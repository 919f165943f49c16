"""docs/measured.md quotes what the benchmarks wrote: no figure of its tables is typed by hand."""

import json

import pytest

from benchmarks.measured import PAGE, TABLES, rendered


def test_the_page_shows_the_results_that_are_kept():
    page = PAGE.read_text()
    assert rendered(page) == page, "run `make measured`"


@pytest.mark.parametrize("name", TABLES)
def test_a_changed_result_changes_its_table_alone(name, tmp_path):
    page = PAGE.read_text()
    source = next(PAGE.parent.parent.glob(f"benchmarks/results/{name}.json"))
    document = json.loads(source.read_text()) | {"machine": "another machine"}
    (tmp_path / source.name).write_text(json.dumps(document))
    found = rendered(page, tmp_path)
    assert found.count("another machine") == 1
    start, end = (page.index(f"<!-- {mark}{name} -->") for mark in ("", "/"))
    assert found.startswith(page[:start])
    assert found.endswith(page[end:])


def test_a_table_without_a_place_on_the_page_is_an_error():
    with pytest.raises(AssertionError, match="has 0 places for"):
        rendered("no table here")
