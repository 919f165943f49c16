"""The figure of receipts: a chain of hashes, the tree above it, and a signed checkpoint."""

import hashlib
import json

from documentation.figures.canvas import BLUE, GREEN, GREY, ORANGE, SOFT, Canvas
from tangent_composer.receipts import merkle

WIDTH, HEIGHT, BOX, TOP = 860, 300, 180, 206
SUBJECTS = (
    "component of party 2",
    "dataset of party 5",
    "an image of party 1",
    "component of party 4",
)


def svg() -> str:
    """Return the figure."""
    title = "Each receipt holds the hash of the one before; a tree over all of them has one root"
    canvas = Canvas(WIDTH, HEIGHT, title)
    hashes = chained()
    _draw_chain(canvas, hashes)
    _draw_tree(canvas, [merkle.leaf(value.encode()) for value in hashes])
    checkpoint = ["checkpoint", "size 4, root, signature"]
    canvas.box((WIDTH - 240, 40), (216, 54), checkpoint, colour=ORANGE)
    canvas.arrow((WIDTH / 2 + BOX / 2 - 8, 67), (WIDTH - 244, 67))
    said = "kept elsewhere, a checkpoint shows later that nothing was taken back"
    canvas.text((24, 28), said, anchor="start", fill=SOFT, size=12)
    return canvas.svg()


def _draw_chain(canvas: Canvas, hashes: list[str]) -> None:
    for n, (subject, value) in enumerate(zip(SUBJECTS, hashes, strict=True)):
        x = 24 + 210 * n
        before = hashes[n - 1][:8] if n else "0000 0000"
        lines = [f"receipt {n + 1}", subject, f"previous {before}", f"hash {value[:8]}"]
        canvas.box((x, TOP), (BOX, 72), lines, colour=BLUE)
        if n:
            canvas.arrow((x - 2, TOP + 44), (x - 28, TOP + 44))


def _draw_tree(canvas: Canvas, leaves: list[bytes]) -> None:
    pairs = [merkle.joined(leaves[0], leaves[1]), merkle.joined(leaves[2], leaves[3])]
    for n, pair in enumerate(pairs):
        x = 24 + 420 * n + 105
        canvas.box((x, 128), (BOX, 34), [pair.hex()[:8]], colour=GREY)
        for side in (-1, 1):
            canvas.line([(x + BOX / 2, 162), (x + BOX / 2 + 105 * side, TOP)])
        canvas.line([(x + BOX / 2, 128), (WIDTH / 2 - 10, 84)])
    root = f"root {merkle.joined(*pairs).hex()[:8]}"
    canvas.box((WIDTH / 2 - 10 - BOX / 2, 50), (BOX, 34), [root], colour=GREEN)


def chained() -> list[str]:
    """Return the hashes of small receipts, each of which holds the one before."""
    found, previous = [], "0" * 64
    for number, subject in enumerate(SUBJECTS, start=1):
        held = {"number": number, "previous_hash": previous, "subject": subject}
        previous = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
        found.append(previous)
    return found
