"""A file without statistics is, byte for byte, that of the same component saved without them."""

import dataclasses
import hashlib
import io
import json

import pytest
import torch

import tangent
from tangent.components.without_statistics import write_without_statistics
from tests.support.random_components import components

NAMES = ['a "b" \\', "tab\there", "Ä\u2028", "\U0001f408", "\x01\x7f\b\f", "/"]


def stripped(data: bytes) -> bytes:
    target = io.BytesIO()
    sha256 = write_without_statistics(io.BytesIO(data), target)
    assert sha256 == hashlib.sha256(target.getvalue()).hexdigest()
    return target.getvalue()


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block", "all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_the_writer_of_components_writes(scope, dtype):
    for part in components(scope, dtype):
        bare = dataclasses.replace(part, statistics=None).to_bytes()
        assert stripped(part.to_bytes()) == bare
        assert stripped(bare) == bare


def test_labels_of_every_kind_are_written_as_the_format_writes_them():
    part = components("head")[0]
    labels = dict.fromkeys(sorted(NAMES), 3)
    part = dataclasses.replace(
        part, labels=labels, head_labels=tuple(labels), head=part.head[:1].repeat(len(labels), 1)
    )
    bare = dataclasses.replace(part, statistics=None).to_bytes()
    assert stripped(part.to_bytes()) == bare


def test_nothing_of_the_sums_is_left(tmp_path):
    part = components("last-block")[0]
    file = tmp_path / "bare"
    file.write_bytes(stripped(part.to_bytes()))
    header = json.loads(file.read_bytes()[8:].split(b"}}", 1)[0] + b"}}")
    assert not [name for name in header if name.startswith("statistics")]
    loaded = tangent.Component.load(file)
    assert loaded.statistics is None and torch.equal(loaded.head, part.head)
    for tensor in (part.statistics.sums[0], part.statistics.packed, part.statistics.cross[0]):
        assert tensor.numpy().tobytes() not in file.read_bytes()
