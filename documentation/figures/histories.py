"""The figure of unlearning: two histories with the same end have the same exact sums."""

import hashlib

from documentation.figures import toy
from documentation.figures.canvas import BLUE, GREEN, GREY, ORANGE, RED, SOFT, Canvas

WIDTH, HEIGHT, STEP = 860, 252, 148
ROWS = (
    (
        "with the second party, then without it",
        ("+ party 1", "+ party 2", "+ party 3", "− party 2"),
    ),
    ("as if it had never been there", ("+ party 1", "", "+ party 3", "")),
)
COLOURS = {"+ party 1": BLUE, "+ party 2": ORANGE, "+ party 3": GREEN, "− party 2": RED}


def svg() -> str:
    """Return the figure."""
    canvas = Canvas(
        WIDTH, HEIGHT, "Two histories that end with the same components end with the same bytes"
    )
    for n, (title, steps) in enumerate(ROWS):
        top = 34 + 106 * n
        canvas.text((24, top - 8), title, anchor="start", fill=SOFT, size=12)
        for place, step in enumerate(steps):
            x = 24 + STEP * place
            if step:
                canvas.box(
                    (x, top), (118, 48), [step], colour=COLOURS[step], dashed=step.startswith("−")
                )
            else:
                canvas.line([(x, top + 24), (x + 118, top + 24)], colour=GREY, dashed=True)
            canvas.arrow((x + 120, top + 24), (x + STEP - 3, top + 24))
        canvas.box(
            (24 + STEP * 4, top),
            (218, 48),
            ["sums of parties 1 and 3", f"SHA-256 {digest(steps)[:16]} …"],
            colour=GREY,
        )
    canvas.text((24 + STEP * 4 + 109, 34 + 106 - 16), "=", size=26, bold=True)
    return canvas.svg()


def digest(steps: tuple[str, ...]) -> str:
    """Return the hash of the sums after adding and removing parties in this order."""
    held = [0] * 36
    for step in filter(None, steps):
        sign = 1 if step.startswith("+") else -1
        gram = toy.sums("".join(toy.PARTIES[int(step[-1]) - 1])).gram
        held = [a + sign * b for a, b in zip(held, gram, strict=True)]
    return hashlib.sha256(
        b"".join(each.to_bytes(8, "little", signed=True) for each in held)
    ).hexdigest()
