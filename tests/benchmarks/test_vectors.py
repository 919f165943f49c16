"""The page of test vectors says what the code computes, and is enough to compute it without."""

import base64
import hashlib
import json
import re
import struct
from fractions import Fraction
from math import sqrt
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.torch import load

from benchmarks import vectors
from tangent.components.component import Component
from tests.support.rfc6962 import audit_path, subproof, tree_hash

PAGE = Path(__file__).resolve().parents[2] / "docs" / "test-vectors.md"
TEXT = PAGE.read_text()
VALUES = dict(re.findall(r"^(\S.*?) = (.*)$", "".join(vectors.BLOCK.findall(TEXT)), re.M))
HEADER = VALUES["header"].encode().ljust(int(VALUES["header.length"]))
NUMBERS = bytes.fromhex(VALUES["numbers"])


def floats(name: str) -> list[float]:
    return [float.fromhex(value) for value in VALUES[name].split()]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_page_is_what_the_code_computes():
    assert vectors.rendered(TEXT) == TEXT, "python -m benchmarks.vectors docs/test-vectors.md"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_pixels_and_features_by_the_page_alone(number):
    file = bytes.fromhex(VALUES[f"image_{number}.file"])
    rows = [file[54:60], file[62:68]][::-1]  # from the bottom, each padded to eight bytes
    pixels = b"".join(row[at : at + 3][::-1] for row in rows for at in (0, 3))
    assert VALUES[f"image_{number}.pixels"] == pixels.hex()
    assert VALUES[f"image_{number}.pixels.sha256"] == sha256(pixels)
    assert VALUES[f"image_{number}.file.sha256"] == sha256(file)

    def divided(total: int) -> float:
        return struct.unpack("<f", struct.pack("<f", total / 1020))[0]

    step = float.fromhex(VALUES["step"])
    psi = [*(divided(sum(pixels[channel::3])) for channel in (0, 1)), 1.0]
    assert floats(f"psi_{number}") == [round(entry / step) * step for entry in psi]


def test_sums_and_delta_by_the_page_alone():
    psi = [[Fraction(x) for x in floats(f"psi_{number}")] for number in (1, 2, 3)]
    labels = [json.loads(VALUES[f"image_{number}.label"]) for number in (1, 2, 3)]
    gram = [[sum(row[i] * row[j] for row in psi) for j in range(3)] for i in range(3)]
    assert floats("G") == [gram[i][j] for i in range(3) for j in range(i, 3)]
    ridge = Fraction(float.fromhex(VALUES["l2"])) * 3 * 2 / 2
    for name in json.loads(VALUES["labels"]):
        mine = [row for row, label in zip(psi, labels, strict=True) if label == name]
        sums = [sum(column) for column in zip(*mine, strict=True)]
        assert floats(f"s[{name}]") == sums

        seed = f"head {VALUES['fingerprint']} {name}".encode()
        numbers = struct.unpack("<3Q", hashlib.shake_256(seed).digest(24))
        base = [(2 * ((number >> 11) * 2.0**-53) - 1) / sqrt(2) for number in numbers]
        assert floats(f"a[{name}]") == base

        delta = [Fraction(x) for x in floats(f"delta[{name}]")]
        for i in range(3):  # what is left of the equations is the rounding of delta
            left = sum((gram[i][j] + ridge * (i == j)) * delta[j] for j in range(3))
            right = Fraction(float.fromhex(VALUES["beta"])) * sums[i] - sum(
                gram[i][j] * Fraction(base[j]) for j in range(3)
            )
            assert abs(left - right) < 1e-13


def test_a_training_solves_for_the_same_delta():
    torch.testing.assert_close(vectors.by_the_service(), vectors.solved(), rtol=1e-12, atol=1e-12)


def test_the_file_by_the_page_alone(tmp_path):
    header = VALUES["header"].encode().ljust(int(VALUES["header.length"]))
    data = struct.pack("<Q", len(header)) + header + bytes.fromhex(VALUES["numbers"])

    assert sha256(data) == VALUES["file.sha256"]
    tensors = load(data)
    assert tensors["statistics.gram"].tolist() == floats("G")
    assert tensors["delta.head"].flatten().tolist() == floats("delta[cat]") + floats("delta[größe]")
    (tmp_path / "file").write_bytes(data)
    assert Component.load(tmp_path / "file").to_bytes() == data


def test_the_packed_file_by_the_page_alone(tmp_path):
    header = VALUES["packed.header"].encode().ljust(int(VALUES["packed.header.length"]))
    data = struct.pack("<Q", len(header)) + header + bytes.fromhex(VALUES["packed.numbers"])
    assert sha256(data) == VALUES["packed.file.sha256"]
    steps = [
        Fraction(2) ** exponent
        for number, exponent in json.loads(VALUES["packed.grid"])
        for _ in range(number)
    ]
    places = [(i, j) for i in range(3) for j in range(i, 3)]
    units = [
        Fraction(x) / (steps[i] * steps[j]) for x, (i, j) in zip(floats("G"), places, strict=True)
    ]
    assert units == json.loads(VALUES["packed.units"])

    block = [int(2 * v if v >= 0 else -2 * v - 1) for v in units] + [0] * (64 - len(units))
    width = max(block).bit_length()
    bits = sum(number << j * width for j, number in enumerate(block))
    tensors = load(data)
    assert tensors["statistics.gram"].numpy().tobytes() == bits.to_bytes(8 * width, "little")
    widths = bytes([width]).ljust(8, b"\0")
    assert tensors["statistics.widths"].numpy().tobytes() == widths
    assert widths.hex() == VALUES["packed.widths"]
    other = load(struct.pack("<Q", int(VALUES["header.length"])) + HEADER + NUMBERS)
    for name in ("delta.head", "statistics.sums"):
        assert torch.equal(tensors[name], other[name])
    (tmp_path / "file").write_bytes(data)
    assert Component.load(tmp_path / "file").to_bytes() == data


def test_receipts_tree_and_checkpoint_by_the_page_alone():
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VALUES["private_key"]))
    public = key.public_key().public_bytes_raw()
    assert VALUES["public_key"] == public.hex()
    assert VALUES["key_id"] == sha256(bytes.fromhex("302a300506032b6570032100") + public)
    previous, entries = "0" * 64, []
    for number in (1, 2, 3):
        text = VALUES[f"receipt_{number}.canonical"]
        receipt = json.loads(text)
        assert receipt["previous_hash"] == previous
        assert text == json.dumps(
            receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        previous = VALUES[f"receipt_{number}.hash"]
        assert previous == sha256(text.encode())
        if number > 1:
            made = key.sign(f"tangent-composer receipt {previous}".encode())
            assert VALUES[f"receipt_{number}.signature"] == made.hex()
        entries.append(previous.encode())

    tree = tuple(entries)
    for at, entry in enumerate(tree):
        assert VALUES[f"node[0,{at}]"] == sha256(b"\0" + entry)
    assert VALUES["node[1,0]"] == tree_hash(tree[:2]).hex()
    assert VALUES["root"] == tree_hash(tree).hex()
    for name, proof in {
        "inclusion of receipt 2 in size 3": audit_path(1, tree),
        "consistency from 2 to 3": subproof(2, tree, True),
        "consistency from 1 to 3": subproof(1, tree, True),
    }.items():
        assert json.loads(VALUES[name]) == [hash_.hex() for hash_ in proof]
    name = "tangent-composer/rcpt_1"
    body = f"{name}\n3\n{base64.b64encode(tree_hash(tree)).decode()}\n"
    named = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    signature = base64.b64encode(named + key.sign(body.encode())).decode()
    assert json.loads(VALUES["checkpoint"]) == f"{body}\n— {name} {signature}\n"
