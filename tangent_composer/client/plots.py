"""Figures of predictions, with matplotlib, which the extra `notebook` installs."""

import io
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from PIL import Image

from tangent_composer.schemas.answers import Result

if TYPE_CHECKING:
    from tangent_composer.client.predictions import Predictions

INCHES = 2.4  # of one image with its bars, in width
BEST, OTHER = "#3567b7", "#b9c6dc"


class Plot(Figure):
    """A figure that notebooks show as it is, whatever backend is chosen."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def figure(predictions: "Predictions", *, columns: int, most: int) -> Plot:
    """Return a figure of the first images, each above the probabilities or logits of its labels."""
    count = min(len(predictions), most)
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    made = Plot(figsize=(INCHES * columns, 1.6 * INCHES * rows), layout="constrained")
    axes = made.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 2] * rows)
    for line in axes:
        for axis in line:
            axis.set_axis_off()
    for index in range(count):
        row, column = divmod(index, columns)
        above, below = axes[2 * row][column], axes[2 * row + 1][column]
        picture, result = predictions.pictures[index], predictions.results[index]
        above.set_title(picture.name, fontsize=8)
        if result.error is None:
            above.imshow(Image.open(io.BytesIO(picture.read())).convert("RGB"))
        _draw_bars(below, result, predictions.shown)
    return made


def _draw_bars(axis: Any, result: Result, most: int) -> None:
    if result.error is not None:
        axis.text(0.5, 0.5, result.error.code, ha="center", va="center", fontsize=8)
        return
    ranked = (result.predictions or [])[:most][::-1]
    by_logit = any(each.probability is None for each in ranked)
    values = [(each.logit if by_logit else each.probability) or 0.0 for each in ranked]
    colours = [BEST if each.label == result.label else OTHER for each in ranked]
    axis.set_axis_on()
    axis.barh([each.label for each in ranked], values, color=colours)
    if not by_logit:
        axis.set_xlim(0, 1)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("logit" if by_logit else "probability", fontsize=7)
