"""The header of a component's file: what is refused before any tensor is read."""

import json
from pathlib import Path

import pytest
import torch

from tangent import Component, errors
from tests.support.models import trained


def header(component: Component) -> str:
    data = component.to_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")].decode()


def load_with(text: str | bytes, folder: Path) -> Component:
    """Load the small trained component's file under another header."""
    data, text = trained("head").to_bytes(), text if isinstance(text, bytes) else text.encode()
    tensors = data[8 + int.from_bytes(data[:8], "little") :]
    path = folder / "some.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)
    return Component.load(path)


def test_the_headers_own_bytes_are_read(tmp_path):
    assert load_with(header(trained("head")), tmp_path).to_bytes() == trained("head").to_bytes()


def test_a_tensor_that_the_header_names_twice_is_refused(tmp_path):
    text = header(trained("head")).rstrip()
    about = json.dumps(json.loads(text)["delta.head"])
    twice = f'{text[:-1]},"delta.head":{about}}}'
    assert json.loads(twice) == json.loads(text)

    with pytest.raises(errors.BadComponent, match="an object with two members of one name"):
        load_with(twice, tmp_path)


@pytest.mark.parametrize("member", ['"seed": 7', '"hyperparameters": {"l2": 1, "l2": 2}'])
def test_metadata_with_two_members_of_one_name_are_refused(member, tmp_path):
    whole = json.loads(header(trained("head")))
    about = whole["__metadata__"]["tangent"]
    whole["__metadata__"]["tangent"] = f"{about[:-1]}, {member}}}"

    with pytest.raises(errors.BadComponent, match="an object with two members of one name"):
        load_with(json.dumps(whole), tmp_path)


def test_too_many_tensors_are_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "from_file", lambda *_args, **_more: pytest.fail("tensors are read"))
    monkeypatch.setattr("tangent.components.file_header.safe_open", torch.from_file)
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = {str(number): nothing for number in range(10_001)}

    with pytest.raises(errors.BadComponent, match="has 10001 tensors, the most is 10000"):
        load_with(json.dumps(many), tmp_path)


@pytest.mark.parametrize("inside", [False, True])
def test_a_flood_of_values_is_refused_before_it_is_parsed(inside, tmp_path, monkeypatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr(
        json, "loads", lambda text, **more: parsed.append(text) or loads(text, **more)
    )
    flood = '{"a":[' + "[]," * 150_000 + "[]]}"
    text = flood
    if inside:  # written with escapes, so that only the text within has these marks
        escaped = flood.replace("[", "\\u005b").replace(",", "\\u002c").replace('"', '\\"')
        whole = loads(header(trained("head")))
        whole["__metadata__"]["tangent"] = "here"
        text = json.dumps(whole).replace("here", escaped)

    with pytest.raises(errors.BadComponent, match="300003 commas and opening brackets, the most"):
        load_with(text, tmp_path)
    assert len(parsed) == inside


def test_a_header_of_too_many_bytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "some.safetensors"
    path.write_bytes((2**24 + 1).to_bytes(8, "little") + b"{}")

    with pytest.raises(
        errors.BadComponent, match="header has 16777217 bytes, the most is 16777216"
    ):
        Component.load(path)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"', '{"\\udfff": 1}'])
@pytest.mark.parametrize("member", ["derived", "privacy", "hyperparameters", "more"])
def test_metadata_that_could_not_be_written_again_are_refused(member, value, tmp_path):
    whole = json.loads(header(trained("head")))
    about = json.loads(whole["__metadata__"]["tangent"]) | {member: {"a": ["here"]}}
    about = json.dumps(about).replace('"here"', value)
    whole["__metadata__"]["tangent"] = about

    with pytest.raises(errors.BadComponent, match="cannot be written as JSON in UTF-8 again"):
        load_with(json.dumps(whole), tmp_path)


@pytest.mark.parametrize(
    "text", [b'{"__metadata__":{"tangent":"\xff"}}', b'{"__metadata__":{"tangent":"\\udfff"}}']
)
def test_a_header_that_is_no_text_in_utf_8_is_refused(text, tmp_path):
    with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
        load_with(text, tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "[" * 100_000])
def test_a_header_that_is_no_object_is_refused(text, tmp_path):
    with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
        load_with(text, tmp_path)
