"""A manifest gives the labels of an archive's images, and decides alone."""

import json

import pytest

from app.archives.manifests import Manifest, may_be_manifest, read_label
from app.errors import Invalid, TooLarge


def manifest(path: str, text: str | bytes, most: int = 100) -> Manifest:
    made = Manifest(most)
    assert made.add(path, text if isinstance(text, bytes) else text.encode()) is None
    return made


def test_a_csv_manifest_gives_labels_relative_to_its_own_folder():
    text = "file_name,label\n1.png,cat\nsub/2.png, dog \n"
    assert manifest("metadata.csv", text).labels == {"1.png": "cat", "sub/2.png": "dog"}
    found = manifest("train/metadata.csv", text).labels
    assert found == {"train/1.png": "cat", "train/sub/2.png": "dog"}


def test_a_jsonl_manifest_may_have_numbers_as_labels_and_other_fields():
    rows = [{"file_name": "1.png", "label": 3, "width": 9}, {"file_name": "2.png", "label": "x"}]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    assert manifest("data.JSONL", text).labels == {"1.png": "3", "2.png": "x"}


def test_a_manifest_may_have_quotes_a_mark_of_order_and_windows_ways():
    text = '\ufefffile_name,label,note\r\n"a\\1.png","big, grey cat",x\r\n'
    assert manifest("labels.csv", text).labels == {"a/1.png": "big, grey cat"}


def test_labels_that_cannot_be_are_rejected_with_their_line():
    found = manifest("metadata.csv", "file_name,label\n1.png,\n2.png,a\x07b\n3.png,cat\n")
    assert found.labels == {"3.png": "cat"}
    assert found.rejected["1.png"] == "its label in metadata.csv, line 2, is empty"
    assert "U+0007, which is a control" in found.rejected["2.png"]


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("metadata.csv", "file_name,text\n1.png,cat\n", "needs the fields file_name and label"),
        ("metadata.csv", "file_name,label\n", "lists no image"),
        ("manifest.csv", "", "lists no image"),
        ("metadata.csv", "file_name,label\n,cat\n", "its file_name is empty"),
        ("metadata.jsonl", "{", "line 1: it is not JSON"),
        ("metadata.jsonl", '\n["a"]', "line 2: it is not a JSON object"),
        ("metadata.jsonl", "[" * 100_000, "it is not JSON"),
        ("metadata.csv", b"file_name,label\n\xff.png,cat\n", "not in UTF-8"),
        ("metadata.csv", "1.png,cat\n2.png,dog\n", r"line 1: it needs .* and has 1\.png, cat"),
        ("metadata.csv", b"PK\3\4" + bytes(range(256)), "is no table but a zip, as a spreadsheet"),
        ("metadata.jsonl", '[{"file_name": "1.png"},\n', "write one object a line"),
        ("metadata.jsonl", '{"file_name": "1", "label": "a", "label": "b"}', "or label twice"),
        ("metadata.csv", b"file_name,label\n" + b"x" * 200_000 + b",cat\n", "line 2: field larger"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_place(path, text, told):
    with pytest.raises(Invalid, match=told) as caught:
        manifest(path, text)
    assert caught.value.code == "manifest_malformed"
    assert path in caught.value.detail


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", b"\xff\xfe", "{}", "x" * 200_000])
def test_another_table_is_no_manifest(text):
    data = text if isinstance(text, bytes) else text.encode()
    for path in ("notes.csv", "notes.jsonl"):
        made = Manifest(100)
        assert made.add(path, data)
        assert not made.has_rows


def test_the_reason_why_a_table_is_no_manifest_names_its_columns():
    told = Manifest(100).add("train.csv", b"image,label\n1.png,cat\n")
    assert told == "line 1: it needs the fields file_name and label, and has image, label"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_table_is_read_in_every_encoding_of_unicode(encoding):
    found = manifest("metadata.csv", "file_name,label\n1.png,Äpfel\n".encode(encoding))
    assert found.labels == {"1.png": "Äpfel"}


def test_blank_lines_may_come_before_the_columns():
    assert manifest("metadata.csv", "\n \nfile_name,label\n1.png,cat\n").labels == {"1.png": "cat"}


def test_lines_of_json_may_be_called_ndjson():
    row = '{"file_name": "1.png", "label": "cat"}'
    assert manifest("metadata.ndjson", row).labels == {"1.png": "cat"}


@pytest.mark.parametrize(
    "name", ["/data/1.png", "C:\\data\\1.png", "https://a.example/1.png", "../../1.png"]
)
def test_a_path_out_of_the_archive_is_told_with_its_line(name):
    with pytest.raises(
        Invalid, match=r"^a/metadata\.csv, line 3: its file_name .* is no path"
    ) as told:
        manifest("a/metadata.csv", f"file_name,label\n1.png,cat\n{name},dog\n")
    assert told.value.code == "unsafe_path"


def test_two_labels_for_one_image_are_refused():
    with pytest.raises(Invalid, match=r"line 3, gives '1\.png' the label 'dog', another") as caught:
        manifest("metadata.csv", "file_name,label\n1.png,cat\n./1.png,dog\n")
    assert caught.value.code == "manifest_conflict"
    for rows in ("1.png,cat\n1.png,\n", "1.png,\n1.png,cat\n"):
        with pytest.raises(Invalid, match=r"label (none|'cat'), another line (none|'cat')"):
            manifest("metadata.csv", f"file_name,label\n{rows}")
    twice = "file_name,label\n1.png,cat\n1.png,cat\n2.png,\n2.png,\n"
    assert manifest("metadata.csv", twice).labels == {"1.png": "cat"}


def test_a_manifest_may_lie_beside_the_folder_of_its_images():
    rows = "../images/1.png,cat\n..\\images\\2.png,dog\n./3.png,owl\n"
    found = manifest("all/labels/metadata.csv", f"file_name,label\n{rows}").labels
    assert found == {
        "all/images/1.png": "cat",
        "all/images/2.png": "dog",
        "all/labels/3.png": "owl",
    }
    assert manifest("a/metadata.csv", "file_name,label\n../1.png,cat\n").labels == {"1.png": "cat"}


@pytest.mark.parametrize("name", ["../../1.png", "/etc/passwd", "C:\\1.png", "b/../../../1.png"])
def test_a_manifest_cannot_point_outside(name):
    with pytest.raises(Invalid) as caught:
        manifest("a/metadata.csv", f"file_name,label\n{name},cat\n")
    assert caught.value.code == "unsafe_path"


def test_the_rows_of_manifests_are_bounded():
    text = "file_name,label\n" + "".join(f"{i}.png,cat\n" for i in range(11))
    with pytest.raises(TooLarge, match="lists more than the 10 images") as caught:
        manifest("metadata.csv", text, most=10)
    assert caught.value.code == "too_many_images"


def test_tables_are_looked_at_and_other_files_are_not():
    assert may_be_manifest("a/Metadata.CSV") and may_be_manifest("x.jsonl")
    assert may_be_manifest("x.tsv")
    assert not may_be_manifest("a.csv.png") and not may_be_manifest("a.json")


@pytest.mark.parametrize(
    "text",
    [
        "file_name;label\r\n1.png;cat\r\n2.png;a, b\r\n",  # a German or French Excel
        "label\tfile_name\ncat\t1.png\na, b\t2.png\n",
        "sep=;\r\nfile_name;label\r\n1.png;cat\r\n2.png;a, b\r\n",
        'id|"file_name"|"label"\n0|1.png|cat\n1|2.png|a, b\n',
        ' File_Name , LABEL \n1.png,cat\n2.png,"a, b"\n',
        'file_name,label\n1.png,cat\n2.png,"a, b"\n,\n , \n\n',  # rows of commas alone
        ',file_name,label\n0,1.png,cat\n1,2.png,"a, b"\n',  # the index of pandas
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_spreadsheet_s_table_is_read_as_it_writes_one(text, encoding):
    found = manifest("metadata.csv", text.encode(encoding))
    assert (found.labels, found.rejected) == ({"1.png": "cat", "2.png": "a, b"}, {})


def test_a_table_between_tabs_may_be_called_so():
    assert manifest("labels.tsv", "file_name\tlabel\n1.png\tcat\n").labels == {"1.png": "cat"}


def test_a_label_cut_by_a_comma_is_rejected_and_not_shortened():
    found = manifest("metadata.csv", "file_name,label\n1.png,big, grey cat\n2.png,cat,\n")
    assert found.labels == {"2.png": "cat"}
    assert "line 2, may go on" in found.rejected["1.png"]
    assert "grey cat" in found.rejected["1.png"]


@pytest.mark.parametrize(
    ("value", "label"), [(0, "0"), (0.0, "0"), (-3.0, "-3"), ("0.0", "0.0"), (" cat ", "cat")]
)
def test_whole_numbers_are_labels(value, label):
    assert read_label(value) == (label, None)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is missing"),
        (float("nan"), "is missing"),
        (1.5, "is a number with a fraction (1.5)"),
        (float("inf"), "is a number with a fraction (Infinity)"),
        (True, "is true or false (true)"),
        (["cat"], 'is a list (["cat"])'),
        ({"id": 3}, 'is an object ({"id": 3})'),
        ("", "is empty"),
        ("x" * 256, "is longer than 255"),
        (10**300, "is longer than 255"),
        ("a\nb", "has U+000A"),
    ],
)
def test_what_is_no_label_is_told_as_it_was_seen(value, why):
    _, told = read_label(value)
    assert told is not None and told.startswith(why)


def test_the_fields_that_a_table_has_are_told():
    with pytest.raises(Invalid, match="needs the fields file_name and label, and has path, class"):
        manifest("metadata.csv", "path,class\n1.png,cat\n")
    with pytest.raises(Invalid, match="it has two columns called label"):
        manifest("metadata.csv", "file_name,label,label\n1.png,cat,dog\n")
