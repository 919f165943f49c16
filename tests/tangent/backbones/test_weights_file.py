"""Weights files: the header and the configuration are looked at before anything is made."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tangent import errors
from tangent.backbones import loading
from tangent.backbones.loading import create_untrained, load_backbone
from tangent.backbones.weights_file import MAX_CONFIGURATION, configuration


def test_a_file_that_does_not_fit_costs_no_memory_for_the_architecture(tmp_path, monkeypatch):
    """The header is compared with the shapes before any weight of the architecture is made."""
    made, weights = [], tmp_path / "weights.safetensors"
    save_file(create_untrained("test_vit", 0).state_dict(), weights)

    def create(name, classes, **more):
        made.append(torch.get_default_device().type)
        return create_untrained(name, classes, **more)

    monkeypatch.setattr(loading, "create_untrained", create)
    for architecture in ("vit_huge_patch14_224", "resnet18"):
        with pytest.raises(errors.BackboneUnavailable, match=r"lacks \d+ tensors"):
            load_backbone(f"{architecture}:{weights}")
    assert made == ["meta", "meta"]


def test_a_configuration_beside_the_file_is_read_up_to_a_bound(tmp_path):
    weights = tmp_path / "weights.safetensors"
    assert configuration(weights) == {}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "a"}))
    assert configuration(weights) == {"architecture": "a"}
    weights.with_suffix(".json").write_text(json.dumps({"architecture": "x" * MAX_CONFIGURATION}))
    with pytest.raises(errors.BackboneUnavailable, match=r"weights\.json .*: it is too long"):
        configuration(weights)
