"""Names and configurations that no model can be built from are refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest

from tangent import errors, load_backbone
from tangent.backbones import loading

SHIPPED = loading.WEIGHTS / "resnet_micro_32.safetensors"


@pytest.mark.parametrize("tag", ["nonsense", "", ".", "a.b", "a1_in1k.x"])
@pytest.mark.parametrize("file", ["", f":{SHIPPED}"])
def test_a_tag_that_timm_does_not_have_is_answered_with_those_it_has(tag: str, file: str):
    known = r"timm has no weights .* of resnet18: use one of .*resnet18\.a1_in1k"
    with pytest.raises(errors.UnknownBackbone, match=known):
        load_backbone(f"resnet18.{tag}{file}")


def test_a_shipped_backbone_has_no_tags():
    with pytest.raises(errors.UnknownBackbone, match="nearest names are resnet_micro_32"):
        load_backbone("resnet_micro_32.tag")


def test_timms_own_weights_of_a_shipped_architecture_are_called_by_their_tag(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(loading, "_download", lambda name: loading.create_untrained(name, 0))
    held = load_backbone("tf_efficientnet_lite0.in1k")
    assert held.fingerprint != load_backbone("tf_efficientnet_lite0").fingerprint


@pytest.mark.parametrize("path", ["x" * 300, "a/" * 3000 + "b", "a\0b", "\ud800"])
@pytest.mark.parametrize("architecture", ["", "resnet18:"])
def test_a_path_that_no_file_can_have_names_no_file(path: str, architecture: str):
    with pytest.raises(errors.UnknownBackbone, match="there is no weights file at"):
        load_backbone(f"{architecture}/tmp/{path}.safetensors")


def configured(folder: Path, **config: object) -> str:
    """Return the path of good weights with this configuration beside them."""
    path = folder / "mine.safetensors"
    shutil.copy(SHIPPED, path)
    path.with_suffix(".json").write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"input_size": [3, 1, 1]},
        {"input_size": "large"},
        {"input_size": [3]},
        {"mean": "grey"},
        {"crop_pct": 0.0},
        {"interpolation": 7},
        ["a list"],
    ],
)
def test_a_configuration_that_builds_no_preprocessing_is_refused(
    tmp_path: Path, preprocessing: object
):
    name = configured(tmp_path, architecture="resnet_micro_32", preprocessing=preprocessing)
    try:
        load_backbone(name)
    except errors.TangentError as error:
        assert "mine.safetensors" in str(error)


@pytest.mark.parametrize("architecture", [5, ["resnet18"], {"a": 1}, "resnet18.nonsense"])
def test_a_configuration_that_names_no_architecture_is_refused(
    tmp_path: Path, architecture: object
):
    with pytest.raises(errors.UnknownBackbone, match="resnet"):
        load_backbone(configured(tmp_path, architecture=architecture))


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, AssertionError, KeyError])
def test_an_error_of_timms_builder_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
):
    def fail(*_: object, **__: object) -> None:
        raise error("as timm says")

    monkeypatch.setattr(loading, "create_untrained", fail)
    with pytest.raises(errors.UnsupportedModel, match=r"timm cannot build resnet18:.*as timm says"):
        load_backbone(f"resnet18:{SHIPPED}")


def test_too_little_memory_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(loading, "create_untrained", fail)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_backbone(f"resnet18:{SHIPPED}")


def test_a_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(loading, "load_file", refuse)
    with pytest.raises(errors.BackboneUnavailable, match=r"cannot be read.*permissions"):
        load_backbone(f"resnet_micro_32:{SHIPPED}")
