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
    many = {str(number): nothing for number in range(100_000)}

    with pytest.raises(errors.BadComponent, match="has 100000 tensors, the most is 10000"):
        load_with(json.dumps(many), tmp_path)


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
