"""Answer hashes: a model's answer to the hash images, in passes that no other request shares."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch

import tangent
from app.inference.engine.batches import Batches
from app.inference.engine.orders import Order
from app.inference.models import Model, Source
from tangent.spaces import reproducibility


def composed(
    space: tangent.Space, model: Model, load: Callable[[Source], tangent.Component]
) -> tangent.Delta:
    """Compose the model from its files alone."""
    parts = [(load(source), weight) for source, weight in model.parts]
    shas = [source.sha256 for source, _ in model.parts]
    return tangent.compose(space, parts, model.rule, shas=shas)


def taken(space: tangent.Space, delta: tangent.Delta | None, batches: Batches) -> dict[str, Any]:
    """Return the hash images' facts and the hash of the answer to them; None without a delta."""
    images = reproducibility.hash_images(space.image_size)
    answer = None
    if delta is not None:
        order = Order(space, list(images), delta, "together", lambda: True)
        logits = batches.run(order).logits
        answer = reproducibility.answer_hash(delta.labels, logits.numpy())
    return {
        "images": {
            "count": len(images),
            "size": space.image_size,
            "sha256": hashlib.sha256(images.numpy().tobytes()).hexdigest(),
        },
        "logits_sha256": answer,
    }


def environment(space: tangent.Space, device: torch.device) -> dict[str, Any]:
    """Return what the bits of an answer depend on besides the model."""
    return {
        "passes": tangent.environment(device),
        "processor": reproducibility.processor(),
        "engine": "readout" if space.answerer is None else space.answerer.name,
        "precision": space.precision,
    }
