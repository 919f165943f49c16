"""The model of the systems compared with: the same backbone and preprocessing, a linear head."""

import io

import torch
from PIL import Image
from torch import Tensor, nn

from tangent.backbones.loading import load_backbone

LABELS = tuple("0123456789")
SHOWN = 5


class PlainModel:
    """A classifier as timm would serve it: one plain forward pass, and softmax."""

    def __init__(self, backbone: str) -> None:
        loaded = load_backbone(backbone)
        torch.manual_seed(0)
        self._model = nn.Sequential(loaded.model, nn.Linear(loaded.width, len(LABELS))).eval()
        self._preprocess = loaded.preprocess

    def decoded(self, file: bytes) -> Tensor:
        """Return the network's input."""
        return self._preprocess(Image.open(io.BytesIO(file)).convert("RGB"))

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return a row for each image."""
        return self._model(images).softmax(1)


def answer(row: Tensor) -> dict[str, list[dict[str, object]]]:
    """Return an answer's JSON: the most probable labels."""
    best = row.topk(SHOWN)
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return {"predictions": [{"label": LABELS[i], "probability": p} for p, i in pairs]}
