"""Scores of training images by a selection without them."""

import numpy as np
import torch

import tangent
from app.inference.engine.loaded_components import LoadedComponents
from app.inference.models import Copies, Logits, Model, SpaceKey
from tangent.composition.leave_one_out import Copy, scores_without


class LeavingOut:
    """The part of an engine that answers images as if they had not been trained on."""

    _loaded: LoadedComponents

    def opened(self, key: SpaceKey) -> tangent.Space:
        """Return the opened space itself."""
        raise NotImplementedError

    def scores_without(self, model: Model, features: np.ndarray, copies: Copies) -> Logits:
        """Return the scores of images by their readouts, each by the model without its copies.

        Raises:
            NotLeftOut: as `tangent.composition.leave_one_out`.
            DamagedFile: as `compose`.
        """
        space = self.opened(model.space)
        members = [(self._loaded.get(source), weight) for source, weight in model.parts]
        own = [[Copy(part, label) for part, label in each] for each in copies]
        found = scores_without(space, members, model.rule, torch.from_numpy(features.copy()), own)
        return Logits(found.labels, found.scores.numpy())
