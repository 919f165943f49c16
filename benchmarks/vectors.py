"""Writes the values of docs/test-vectors.md: one small history, from pixels to a checkpoint.

    python -m benchmarks.vectors docs/test-vectors.md

Every number comes from the code that the service runs. Only delta is solved here, in fractions: the
solvers' last bits depend on the machine, the page's do not.
"""

import argparse
import hashlib
import json
import re
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.images import image_files
from app.receipts import signing, tree
from app.settings import Settings
from tangent.backbones.features import FINE, Grid
from tangent.backbones.label_head import head_rows
from tangent.components import grid_runs
from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import Statistics, measure
from tangent.training import cholesky
from tangent_composer.canonical_json import canonical
from tangent_composer.receipts import checkpoint, merkle, signatures

PIXELS = {  # 2 × 2, rows from the top, red green blue
    "cat": ["ff8000 01020a", "7f7f7f 000000"],
    "größe": ["102030 405060", "708090 a0b0c0"],
    "cat (2)": ["00ff00 00fe00", "fd0000 0000ff"],
}
LABELS = ("cat", "größe", "cat")
FINGERPRINT = "00" * 32
SETTINGS = Hyperparameters(l2=2.0**-7, beta=15.0)
WIDTH = 2
STEP = FINE.pooled
GRID = Grid(torch.full((WIDTH + 1,), STEP, dtype=torch.float64))
BODIES: list[dict[str, Any]] = [
    {"version": 1, "subjects": [{"kind": "component", "id": "cmp_1"}], "labels": []},
    {"version": 2, "subjects": [{"kind": "dataset", "id": "ds_1"}], "labels": ["größe"], "n": 0.5},
    {"version": 2, "subjects": [], "removed": None, "line\nend": True},
]
BLOCK = re.compile(r"^```text\n(.*?)^```$", re.M | re.S)


def bmp(rows: Sequence[str]) -> bytes:
    """Return a BMP file of 2 × 2 pixels given in hex."""
    body = b""
    for row in reversed(rows):
        body += b"".join(bytes.fromhex(pixel)[::-1] for pixel in row.split()) + b"\0\0"
    info = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54) + info + body


def _images() -> Iterator[tuple[str, str]]:
    for number, rows in enumerate(PIXELS.values(), 1):
        data = bmp(rows)
        pixels = image_files.decode(data, Settings.model_validate({})).tobytes()
        yield f"image_{number}.label", _json(LABELS[number - 1])
        yield f"image_{number}.file", data.hex()
        yield f"image_{number}.file.sha256", hashlib.sha256(data).hexdigest()
        yield f"image_{number}.pixels", pixels.hex()
        yield f"image_{number}.pixels.sha256", hashlib.sha256(pixels).hexdigest()


def features() -> Tensor:
    """Return psi (3, 3) of the three images."""
    decoded = [
        image_files.decode(bmp(rows), Settings.model_validate({})) for rows in PIXELS.values()
    ]
    sums = [[sum(image.tobytes()[channel::3]) for channel in range(WIDTH)] for image in decoded]
    phi = torch.tensor(sums, dtype=torch.float32) / 1020
    return GRID.round(torch.cat([phi, torch.ones(len(phi), 1)], dim=1))


def _features() -> Iterator[tuple[str, str]]:
    yield "step", STEP.hex()
    for number, row in enumerate(features().tolist(), 1):
        yield f"psi_{number}", _floats(row)


def statistics() -> Statistics:
    """Return the sums of the three images."""
    return measure(features(), LABELS)


def _sums() -> Iterator[tuple[str, str]]:
    sums = statistics()
    yield "labels", _json(list(sums.labels))
    yield "counts", _json({name: int(count) for name, count in sums.counts.items()})
    yield "G", _floats(sums.packed.tolist())
    for name, row in zip(sums.labels, sums.sums.tolist(), strict=True):
        yield f"s[{name}]", _floats(row)


def base() -> Tensor:
    """Return the base rows of the labels."""
    return head_rows(FINGERPRINT, statistics().labels, WIDTH)


def solved() -> Tensor:
    """Return delta (2, 3), solved in fractions and rounded once."""
    sums = statistics()
    ridge = Fraction(SETTINGS.l2) * 3 * 2 / 2
    gram = [[Fraction(x) for x in row] for row in sums.gram.tolist()]
    rows = []
    for row, a in zip(sums.sums.tolist(), base().tolist(), strict=True):
        right = [
            Fraction(SETTINGS.beta) * Fraction(s)
            - sum(g * Fraction(x) for g, x in zip(line, a, strict=True))
            for s, line in zip(row, gram, strict=True)
        ]
        matrix = [
            [*(g + ridge * (i == j) for j, g in enumerate(line)), right[i]]
            for i, line in enumerate(gram)
        ]
        rows.append([float(x) for x in _eliminated(matrix)])
    return torch.tensor(rows, dtype=torch.float64)


def _eliminated(matrix: list[list[Fraction]]) -> list[Fraction]:
    """Return the solution of the equations whose right side is the last column."""
    for i in range(len(matrix)):
        matrix[i] = [x / matrix[i][i] for x in matrix[i]]
        for j in range(len(matrix)):
            if j != i:
                factor = matrix[j][i]
                matrix[j] = [x - factor * y for x, y in zip(matrix[j], matrix[i], strict=True)]
    return [row[-1] for row in matrix]


def by_the_service() -> Tensor:
    """Return delta as a training solves for it."""
    sums = statistics()
    return cholesky.plain_head(sums, sums.labels, base(), SETTINGS)


def _delta() -> Iterator[tuple[str, str]]:
    yield "fingerprint", FINGERPRINT
    yield "beta", SETTINGS.beta.hex()
    yield "l2", SETTINGS.l2.hex()
    for kind, rows in (("a", base()), ("delta", solved())):
        for name, row in zip(statistics().labels, rows.tolist(), strict=True):
            yield f"{kind}[{name}]", _floats(row)


def _file() -> Iterator[tuple[str, str]]:
    sums = statistics()
    settings = {"loss": "rsl", "solver": "cholesky", "beta": SETTINGS.beta, "l2": SETTINGS.l2}
    counts = {name: int(count) for name, count in sums.counts.items()}
    data = Component(
        FINGERPRINT, "head", counts, sums.labels, solved(), {}, sums, settings, 7
    ).to_bytes()
    length = int.from_bytes(data[:8], "little")
    yield "header.length", str(length)
    yield "header", data[8 : 8 + length].decode().rstrip(" ")
    yield "numbers", data[8 + length :].hex()
    yield "file.sha256", hashlib.sha256(data).hexdigest()


def _packed_file() -> Iterator[tuple[str, str]]:
    sums, grid = statistics(), grid_runs.runs(GRID.steps)
    counts = {name: int(count) for name, count in sums.counts.items()}
    settings = {"loss": "rsl", "solver": "cholesky", "beta": SETTINGS.beta, "l2": SETTINGS.l2}
    compact = sums.compact(GRID.steps)
    assert compact is not None  # the features are on the grid
    data = Component(
        FINGERPRINT, "head", counts, sums.labels, solved(), {}, sums, settings, 7, grid=grid
    ).to_bytes()
    length = int.from_bytes(data[:8], "little")
    yield "packed.grid", _json(grid)
    yield "packed.units", _json([int(each) for each in compact.units.numbers().tolist()])
    yield "packed.widths", bytes(compact.units.widths.tolist()).hex()
    yield "packed.header.length", str(length)
    yield "packed.header", data[8 : 8 + length].decode().rstrip(" ")
    yield "packed.numbers", data[8 + length :].hex()
    yield "packed.file.sha256", hashlib.sha256(data).hexdigest()


def signer() -> signing.Signer:
    """Return the signer with the bytes 0 to 31 as its private key."""
    key = signing.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return signing.Signer(key, "", signatures.key_id_of(key.public_key()))


def receipts() -> list[dict[str, Any]]:
    """Return three receipts, of which the last two are signed."""
    made: list[dict[str, Any]] = []
    for number, body in enumerate(BODIES, 1):
        receipt: dict[str, Any] = {
            "number": number,
            "id": f"rcpt_{number}",
            "created_at": f"2026-01-31T09:30:00.00000{number}Z",
            "body": body,
            "previous_hash": made[-1]["hash"] if made else signatures.ZEROS,
        }
        signed = signer() if number > 1 else None
        if signed:
            receipt["key_id"] = signed.key_id
        hash_ = signatures.hash_of(**{"key_id": None} | receipt)
        receipt["hash"] = hash_
        if signed:
            receipt["signature"] = signed.sign(hash_)
        made.append(receipt)
    return made


def _receipts() -> Iterator[tuple[str, str]]:
    yield "private_key", bytes(range(32)).hex()
    yield "public_key", signer().raw_key().hex()
    yield "key_id", signer().key_id
    for number, receipt in enumerate(receipts(), 1):
        hashed = {key: receipt[key] for key in receipt if key not in ("hash", "signature")}
        yield f"receipt_{number}.canonical", canonical(hashed).decode()
        yield f"receipt_{number}.hash", receipt["hash"]
        if "signature" in receipt:
            yield f"receipt_{number}.signature", receipt["signature"]


def _tree() -> Iterator[tuple[str, str]]:
    frontier, nodes = merkle.Frontier(), dict[merkle.Node, bytes]()
    for receipt in receipts():
        nodes |= dict(frontier.add(tree.leaf(receipt["hash"])))
    for (level, index), hash_ in sorted(nodes.items()):
        yield f"node[{level},{index}]", hash_.hex()
    for name, ranges in {
        "inclusion of receipt 2 in size 3": merkle.inclusion(1, 3),
        "consistency from 2 to 3": merkle.consistency(2, 3),
        "consistency from 1 to 3": merkle.consistency(1, 3),
    }.items():
        hashes = [merkle.hash_of_range(nodes, *range_).hex() for range_ in ranges]
        yield name, _json(hashes)
    yield "root", frontier.root().hex()
    origin = f"tangent-composer/{receipts()[0]['id']}"
    yield "checkpoint", _json(checkpoint.written(origin, 3, frontier.root(), signer()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _floats(values: Sequence[float]) -> str:
    return " ".join(value.hex() for value in values)


def rendered(page: str) -> str:
    """Return the page with its blocks of values written again, in their order."""
    parts = iter((_images, _features, _sums, _delta, _file, _packed_file, _receipts, _tree))

    def written(_: re.Match[str]) -> str:
        lines = "".join(f"{name} = {value}\n" for name, value in next(parts)())
        return f"```text\n{lines}```"

    return BLOCK.sub(written, page)


def main() -> None:
    """Write the page's values again."""
    parser = argparse.ArgumentParser(description="Test vectors for another implementation.")
    parser.add_argument("page", type=Path, help="docs/test-vectors.md")
    page = parser.parse_args().page
    page.write_text(rendered(page.read_text()))


if __name__ == "__main__":
    main()
