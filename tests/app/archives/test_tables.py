"""A table costs work and memory in proportion to its own length, however it was made."""

import pytest

from app.archives import tables
from app.archives.manifests import MAX_ROWS_PER_IMAGE, Manifest
from app.archives.tables import MAX_COLUMNS, MAX_ROW, Reader
from app.errors import Invalid, TooLarge

HEADER = b"file_name,label\n"


def test_a_row_of_a_wide_table_has_the_known_columns_alone():
    wide = b",".join(b"%d" % number for number in range(MAX_COLUMNS - 2))
    first, second = Reader(9).rows("a.csv", b"label," + wide + b",file_name\ncat\ndog,1\n")
    assert first.fields == {"label": "cat", "file_name": ""}
    assert second.fields == {"label": "dog", "file_name": ""}


def test_a_table_with_too_many_columns_is_refused():
    wide = b"file_name,label" + b"," * MAX_COLUMNS
    with pytest.raises(Invalid, match="has 10002 columns, more than the 10000 that are read"):
        Manifest(9).add("metadata.csv", wide + b"\n1.png,cat\n")
    assert "10002 columns" in (Manifest(9).add("other.csv", wide + b"\n1.png,cat\n") or "")


def test_rows_that_repeat_an_image_are_counted_over_all_tables():
    made, rows = Manifest(2), b"1.png,cat\n" * (MAX_ROWS_PER_IMAGE - 1) + b"2.png,dog\n"
    assert made.add("metadata.csv", HEADER + rows) is None
    assert made.add("labels.csv", HEADER + rows) is None
    assert made.labels == {"1.png": "cat", "2.png": "dog"}
    with pytest.raises(TooLarge, match=r"up to more\.csv have more than the 20 rows") as caught:
        made.add("more.csv", HEADER + b"1.png,cat\n")
    assert caught.value.code == "manifest_too_large"


def test_the_characters_of_all_tables_are_counted_together(monkeypatch):
    monkeypatch.setattr(tables, "MAX_CHARACTERS", 100)
    made = Manifest(9)
    assert made.add("metadata.csv", HEADER + b"1.png,cat\n" * 2) is None
    assert made.add("other.csv", b"a,b\n" + b"1,2\n" * 1000)  # its first two lines are read
    with pytest.raises(TooLarge, match=r"up to b\.csv have more than the 100 characters"):
        made.add("b.csv", HEADER + b"1.png,cat\n" * 5)


@pytest.mark.parametrize(
    ("path", "start", "repeated"),
    [
        ("metadata.jsonl", b'{"file_name": "1.png", "label": "cat", "x": [', b"[],"),
        ("metadata.csv", HEADER, b","),
        ("metadata.csv", HEADER, b'"\n",'),  # a row of many lines
        ("metadata.csv", b"", b"file_name,"),
    ],
)
def test_one_row_takes_a_bounded_number_of_characters(path, start, repeated):
    with pytest.raises(Invalid, match=r"line \d+: its row has more than 1048576 characters"):
        Manifest(9).add(path, start + repeated * (MAX_ROW // len(repeated) + 1))


def test_rows_of_any_number_are_read_each_within_its_bound(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROW", 30)
    made = Manifest(99)
    rows = b"".join(b"%d.png,cat\n\n" % number for number in range(50))
    assert made.add("metadata.csv", HEADER + rows) is None
    assert made.add("metadata.jsonl", b'{"file_name":"x","label":"a"}\n\n' * 20) is None
    assert len(made.labels) == 51


def test_a_label_nested_to_any_depth_is_rejected_or_no_json():
    """The reader of JSON goes deeper than its writer, by which a message would show it."""
    for depth in (100, *range(300, 1100), 100_000):
        made, value = Manifest(9), b"[" * depth + b"]" * depth
        row = b'{"file_name": "1.png", "label": %b}' % value
        try:
            assert made.add("metadata.jsonl", row) is None
        except Invalid as error:
            assert "it is not JSON" in error.detail
        else:
            assert f"is a list ({'[' * 60}…)" in made.rejected["1.png"]


def test_a_full_manifest_may_list_an_image_again():
    rows = b"1.png,cat\n2.png,dog\n1.png,cat\n"
    assert Manifest(2).add("metadata.csv", HEADER + rows) is None
