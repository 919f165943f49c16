"""The figure of the nouns: what is made from what, and what a deletion takes along."""

from documentation.figures.canvas import BLUE, GREEN, GREY, ORANGE, RED, SOFT, Canvas

WIDTH, HEIGHT = 860, 330
ROWS = ((60, "north"), (160, "south"))


def svg() -> str:
    """Return the figure."""
    title = "From images to answers: dataset, component, composition, prediction, receipt"
    canvas = Canvas(WIDTH, HEIGHT, title)
    canvas.box((196, 16), (470, 206), [], colour=GREY)
    canvas.text((431, 36), "a space: one frozen backbone, one scope", fill=SOFT, size=12)
    for top, name in ROWS:
        _draw_party(canvas, top, name, deleted=name == "south")
    canvas.box((468, 108), (170, 54), ["composition everyone", "rule, weights, ids"], colour=GREEN)
    canvas.arrow((640, 135), (695, 135))
    canvas.box((698, 108), (138, 54), ["prediction", "one forward pass"], colour=GREY)
    canvas.arrow((767, 72), (767, 105))
    canvas.text((767, 64), "an image", size=12, fill=SOFT)
    _draw_deletion(canvas)
    return canvas.svg()


def _draw_party(canvas: Canvas, top: int, name: str, *, deleted: bool) -> None:
    dataset = [f"dataset {name}", "labelled images"]
    canvas.box((24, top), (140, 50), dataset, colour=BLUE, dashed=deleted)
    canvas.arrow((166, top + 25), (221, top + 25))
    canvas.text((193, top + 16), "train", size=11, fill=SOFT)
    component = [f"component {name}", "δ and exact sums"]
    canvas.box((224, top), (170, 50), component, colour=ORANGE, dashed=deleted)
    canvas.arrow((396, top + 25), (465, 135 + (12 if deleted else -12)), dashed=deleted)


def _draw_deletion(canvas: Canvas) -> None:
    canvas.arrow((94, 212), (94, 250), colour=RED)
    asked = ["DELETE dataset south, cascade", "dashed: gone from every answer, to the last bit"]
    canvas.box((24, 254), (370, 54), asked, colour=RED)
    canvas.arrow((396, 281), (465, 281))
    receipt = ["receipt", "what went, what was invalidated; chained and signed"]
    canvas.box((468, 254), (368, 54), receipt, colour=BLUE)
