"""The media type of an answer is the one that the client weighs most."""

import pytest

from app.api.http.media_types import preferred

LINES, TABLE = "application/jsonl", "text/csv"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", LINES),
        ("*/*", LINES),
        ("application/json", LINES),
        ("text/csv", TABLE),
        ("TEXT/CSV", TABLE),
        ("text/*", TABLE),
        ("text/csv; header=present", TABLE),
        ("application/jsonl;q=1, text/csv;q=0", LINES),
        ("application/jsonl, text/csv;q=0.1", LINES),
        ("application/jsonl;q=0.1, text/csv", TABLE),
        ("text/csv, application/jsonl", TABLE),
        ("text/csv, */*", TABLE),
        ("text/csv;q=0, */*", LINES),
        ("application/jsonl;q=0, */*;q=0.1", TABLE),
        ("text/csv ; Q=0.5, application/jsonl;q=0.4", TABLE),
        ("text/csv;q=much", LINES),
        ("text/csvx", LINES),
    ],
)
def test_the_answer_is_of_the_type_that_weighs_most(accept: str, wanted: str) -> None:
    assert preferred(accept, (LINES, TABLE)) == wanted
