"""The pages quote what the benchmarks wrote: no figure of their tables is typed by hand."""

import json

import pytest

from benchmarks.measured import DOCS, PAGES, RESULTS, rendered

TABLES = [
    (page, name)
    for page, tables in PAGES.items()
    for name in tables
    if (RESULTS / f"{name}.json").is_file()
]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_results_that_are_kept(page):
    assert rendered(page) == (DOCS / page).read_text(), "run `make measured`"


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_a_changed_result_changes_its_table_alone(page, name, tmp_path):
    text = (DOCS / page).read_text()
    source = RESULTS / f"{name}.json"
    document = json.loads(source.read_text()) | {"machine": "a machine elsewhere"}
    (tmp_path / source.name).write_text(json.dumps(document))
    found = rendered(page, tmp_path)
    assert found.count("a machine elsewhere") == 1
    start, end = (text.index(f"<!-- {mark}{name} -->") for mark in ("", "/"))
    assert found.startswith(text[:start])
    assert found.endswith(text[end:])


def test_a_table_without_a_place_on_the_page_is_an_error():
    with pytest.raises(AssertionError, match="has 0 places for"):
        rendered("measured.md", text="no table here")
