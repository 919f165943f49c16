"""Whoever follows a column of the tutorial ends with a deleted component and a verified receipt."""

from pathlib import Path

import pytest

from tangent_composer import Client
from tests.support.page_runs import PageRun
from tests.support.pages import DOCS, blocks, columns

TUTORIAL = DOCS / "tutorial.md"


@pytest.mark.parametrize("column", columns(TUTORIAL))
def test_a_column_leads_from_a_start_to_a_deleted_component_and_a_receipt(
    column: str, tmp_path: Path
):
    run = PageRun(tmp_path, None)
    try:
        for block in blocks(TUTORIAL):
            if block.runs and block.column in (None, column):
                run.run(block)
        with Client(f"http://{run.address}", progress=False) as client:
            assert [each.labels for each in client.components.each()] == [["2", "3"]]
            assert client.spaces.get().labels == ["2", "3"]
            (receipt,) = client.receipts.each()
            assert client.receipts.verify(receipt.id).ok
            assert client.receipts.verify_offline(receipt.id).ok
            answer = client.predict(str(tmp_path / "place/digits/held-out/0-0036.png"))
            assert {each.label for each in answer[0].predictions} == {"2", "3"}
    finally:
        run.end()


def test_the_columns_are_those_of_a_shell_of_curl_and_of_python():
    assert columns(TUTORIAL) == ["Shell", "curl", "Python"]
