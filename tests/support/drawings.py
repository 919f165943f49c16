"""Small sets of images for the harness's own tests."""

import numpy as np
from PIL import Image

from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.pictures import Pictures


def drawings(per_label: int = 10, labels: int = 4, name: str = "drawings") -> Pictures:
    """Noise of another brightness and tint for each label."""
    generator = np.random.default_rng(0)

    def part(count: int) -> tuple[list[Image.Image], list[str]]:
        images, names = [], []
        for label in range(labels):
            tint = np.array([40 + 50 * label, 200 - 40 * label, 100 + 30 * (label % 2)])
            for _ in range(count):
                pixels = tint + generator.normal(0, 40, (32, 32, 3))
                images.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
                names.append(f"label {label}")
        return images, names

    return Pictures(name, part(per_label), part(max(2, per_label // 2)))


def gallery(backbone: str = "vit_micro_32", **kwargs: int) -> Gallery:
    """The drawings as a backbone sees them."""
    return Gallery(backbone, drawings(**kwargs))
