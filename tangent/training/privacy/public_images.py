"""Images that are nobody's: dead leaves, drawn from a fixed seed.

Shapes of random place, size and colour that cover each other, their sizes by a power law, have the
statistics of natural images (Lee, Mumford and Huang 2001) and train networks that see (Baradad et
al. 2021). What is measured on them says nothing about anybody's data.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

COUNT = 1000
SIDE = 64  # pixels, before the images are brought to a space's size
MAX_LEAVES = 60
RADII = 0.02, 0.35  # of the side
ROWS, COLUMNS = (each / SIDE for each in np.ogrid[:SIDE, :SIDE])  # a column and a row of places


def dead_leaves(side: int, batch: int) -> Iterator[Tensor]:
    """Yield COUNT images as uint8 (b, side, side, 3), always the same."""
    generator = np.random.default_rng(0)
    for start in range(0, COUNT, batch):
        drawn = [_draw(generator) for _ in range(min(batch, COUNT - start))]
        images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
        resized = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        yield (resized * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _draw(generator: np.random.Generator) -> np.ndarray:
    image = np.tile(generator.random(3, np.float32), (SIDE, SIDE, 1))
    for _ in range(generator.integers(1, MAX_LEAVES)):
        colour = generator.random(3, np.float32)
        if generator.random() < 0.5:
            colour[:] = colour[0]  # grey
        image[_leaf(generator)] = colour
    return image


def _leaf(generator: np.random.Generator) -> np.ndarray:
    """Return the mask of an ellipse, a rectangle or a triangle."""
    smallest, largest = RADII
    radius = generator.uniform(largest**-2, smallest**-2) ** -0.5
    (x, y), angle = generator.random(2), np.pi * generator.random()
    aspect, shape = generator.uniform(0.2, 1.0), generator.integers(3)
    along = (COLUMNS - x) * np.cos(angle) + (ROWS - y) * np.sin(angle)
    across = (ROWS - y) * np.cos(angle) - (COLUMNS - x) * np.sin(angle)
    if shape == 0:
        return np.asarray(along**2 + (across / aspect) ** 2 < radius**2)
    if shape == 1:
        return np.asarray((abs(along) < radius) & (abs(across) < aspect * radius))
    inside = (along > -radius / 2) & (along < radius)
    return np.asarray(inside & (abs(across) < aspect * (radius - along) / 2))
