"""Weights of one's own: files, folders, the hub's repositories; a refusal says what to do."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tangent import errors
from tangent.backbones import hub, loading
from tangent.backbones.loading import create_untrained, load_backbone
from tangent.backbones.weights_folder import how_to_convert

CONFIG = {
    "architecture": "test_vit",
    "num_classes": 3,
    "pretrained_cfg": {
        "input_size": [3, 160, 160],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "license": "cc-by-4.0",
    },
}


def state(architecture: str = "test_vit", classes: int = 3) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_untrained(architecture, classes).state_dict()


def model_folder(folder: Path, config: dict | None = None, prefix: str = "", **more) -> Path:
    """A folder as timm's `save_for_hf` writes it."""
    folder.mkdir(exist_ok=True)
    tensors = {f"{prefix}{name}": value for name, value in state().items()} | more
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    return folder


def test_a_folder_is_the_same_backbone_as_its_file(tmp_path):
    folder = model_folder(tmp_path / "mine")
    file = load_backbone(str(folder / "model.safetensors"))
    for name in (f"{folder}", f"{folder}/", f"local-dir:{folder}", f"test_vit:{folder}"):
        held = load_backbone(name)
        assert (held.name, held.fingerprint) == (name, file.fingerprint)
        assert (held.image_size, held.license) == (160, "cc-by-4.0")


def test_a_folder_of_transformers_wrapper_of_timm_opens(tmp_path):
    plain = load_backbone(str(model_folder(tmp_path / "plain")))
    wrapped = load_backbone(str(model_folder(tmp_path / "wrapped", prefix="timm_model.")))
    assert wrapped.fingerprint == plain.fingerprint


def test_a_folder_with_one_file_of_another_name_opens(tmp_path):
    folder = model_folder(tmp_path / "mine")
    expected = load_backbone(str(folder)).fingerprint
    (folder / "model.safetensors").rename(folder / "best.safetensors")
    assert load_backbone(str(folder)).fingerprint == expected
    save_file(state(), folder / "last.safetensors")
    with pytest.raises(errors.UnknownBackbone, match=r"in 2 safetensors files .*: name one of the"):
        load_backbone(str(folder))


def test_a_folder_without_weights_says_what_writes_them(tmp_path):
    with pytest.raises(
        errors.UnknownBackbone, match=r"has no model.safetensors: timm's save_for_hf"
    ):
        load_backbone(str(tmp_path))
    with pytest.raises(
        errors.UnknownBackbone, match=r"no such folder; .* is called hf-hub:<owner>"
    ):
        load_backbone(f"{tmp_path}/none")


def test_a_folder_of_another_architecture_of_transformers_is_refused(tmp_path):
    folder = model_folder(tmp_path / "bert", {"architectures": ["BertModel"]})
    with pytest.raises(errors.UnknownBackbone, match="names no architecture: call it <timm name>:"):
        load_backbone(str(folder))


def test_arguments_that_change_the_architecture_are_not_passed_over(tmp_path):
    folder = model_folder(tmp_path / "odd", CONFIG | {"model_args": {"act_layer": "relu"}})
    with pytest.raises(errors.UnsupportedModel, match="has model_args, which change the arch"):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    "file", ["a.bin", "a.pth", "b.pt", "c.ckpt", "d.pth.tar", "resnet18:/x/e.PTH"]
)
def test_what_is_not_safetensors_is_refused_with_the_command_that_converts_it(file):
    with pytest.raises(errors.UnknownBackbone, match="only safetensors files are read") as told:
        load_backbone(file)
    assert 'python -c "import torch; ' in str(told.value)


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"state_dict": tensors}])
def test_the_command_that_a_refusal_names_converts(tmp_path, wrap):
    folder = model_folder(tmp_path / "old")
    expected = load_backbone(str(folder)).fingerprint
    (folder / "model.safetensors").unlink()
    torch.save(wrap(state()), folder / "model.bin")
    with pytest.raises(errors.UnknownBackbone, match="only safetensors files are read") as told:
        load_backbone(str(folder))
    command = str(told.value).partition("Convert it: ")[2].removeprefix("python -c ").strip('"')
    subprocess.run([sys.executable, "-c", command], cwd=folder, check=True, timeout=120)
    assert load_backbone(str(folder)).fingerprint == expected


def test_a_hostile_name_puts_nothing_into_the_command():
    told = how_to_convert("a'); import os; os.system('x')#\".pth")
    command = told.partition("Convert it: ")[2]
    assert "os.system(" not in command and command.count('"') == 2


def test_the_first_differences_are_told(tmp_path):
    tensors = state()
    del tensors["norm.weight"], tensors["norm.bias"]
    tensors["blocks.0.attn.proj.bias"] = torch.zeros(3)
    tensors["blocks.99.attn.proj.bias"] = torch.zeros(3)
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(errors.WrongWeights) as told:
        load_backbone(f"test_vit:{tmp_path}/a.safetensors")
    text = str(told.value)
    assert "it lacks 2 tensors, norm.weight, norm.bias first" in text
    assert (
        "has 1 tensors of other shapes: blocks.0.attn.proj.bias has shape [3] in the file" in text
    )
    assert "has 1 tensors more than the architecture, blocks.99.attn.proj.bias first" in text


def test_a_deeper_network_is_no_shallower_one_of_the_same_family(tmp_path):
    """Every tensor of ResNet-18 is in ResNet-34's file too, with the same shape."""
    save_file(state("resnet34", 2), tmp_path / "a.safetensors")
    with pytest.raises(errors.WrongWeights, match=r"has 96 tensors more .*, layer1\.2\.bn1\.bias"):
        load_backbone(f"resnet18:{tmp_path}/a.safetensors")


def test_a_classifier_and_what_the_architecture_has_nothing_like_may_be_there(tmp_path):
    more = {"head.weight": torch.zeros(9, 64), "ema.decay": torch.zeros(1)}
    held = load_backbone(str(model_folder(tmp_path / "more", **more)))
    assert held.fingerprint == load_backbone(str(model_folder(tmp_path / "plain"))).fingerprint


@pytest.mark.parametrize(
    ("config", "metadata", "expected"),
    [
        ({"license": "mit"}, {"license": "gpl-3.0"}, "mit"),
        ({"pretrained_cfg": {"license": "apache-2.0"}}, None, "apache-2.0"),
        ({}, {"license": "gpl-3.0"}, "gpl-3.0"),
        ({}, None, None),
        ({"license": ["mit"]}, None, None),
        ({"license": "x" * 200}, None, None),
        ({"license": "<b>\nmine"}, None, None),
    ],
)
def test_the_licence_is_what_lies_with_the_weights(tmp_path, config, metadata, expected):
    save_file(state(), tmp_path / "a.safetensors", metadata=metadata)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_backbone(f"test_vit:{tmp_path}/a.safetensors").license == expected


def test_the_shipped_weights_have_a_licence():
    assert {load_backbone(name).license for name in loading.shipped_backbones()} == {"apache-2.0"}


class Hub:
    """A hub with one repository, a folder."""

    def __init__(self, folder: Path, sizes: dict[str, int] | None = None) -> None:
        self.folder, self.asked = folder, []
        self._sizes = sizes

    def model_info(self, repository: str, *, revision, timeout, files_metadata):
        self.asked.append((repository, revision))
        found = self._sizes or {path.name: path.stat().st_size for path in self.folder.iterdir()}
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in found.items()]
        return SimpleNamespace(siblings=files)

    def download(self, repository: str, file: str, *, revision) -> str:
        return str(self.folder / file)


def use(monkeypatch: pytest.MonkeyPatch, fake: Hub) -> None:
    monkeypatch.setattr(hub, "HfApi", lambda: fake)
    monkeypatch.setattr(hub, "hf_hub_download", fake.download)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: None)


def test_a_repository_of_the_hub_opens(tmp_path, monkeypatch):
    fake = Hub(model_folder(tmp_path / "snapshot"))
    use(monkeypatch, fake)
    held = load_backbone("hf-hub:somebody/pets@v1")
    assert (held.name, held.license) == ("hf-hub:somebody/pets@v1", "cc-by-4.0")
    assert held.fingerprint == load_backbone(str(tmp_path / "snapshot")).fingerprint
    assert fake.asked == [("somebody/pets", "v1")]


def test_a_repository_without_safetensors_or_too_large_is_not_downloaded(tmp_path, monkeypatch):
    use(monkeypatch, Hub(tmp_path, {"config.json": 9, "pytorch_model.bin": 9}))
    with pytest.raises(errors.UnknownBackbone, match=r"(?s)no model.safetensors on the hub.*torch"):
        load_backbone("hf-hub:a/b")
    use(monkeypatch, Hub(tmp_path, {"model.safetensors": 9}))
    with pytest.raises(errors.UnknownBackbone, match=r"has no config.json on the hub"):
        load_backbone("hf-hub:a/b")
    use(monkeypatch, Hub(tmp_path, {"config.json": 9, "model.safetensors": 2**40}))
    with pytest.raises(errors.BackboneUnavailable, match="have 1099511627776 bytes, the maximum"):
        load_backbone("hf-hub:a/b")


def test_an_error_about_a_repository_does_not_tell_where_its_cache_lies(tmp_path, monkeypatch):
    use(monkeypatch, Hub(model_folder(tmp_path / "snapshot", {"architecture": "resnet18"})))
    with pytest.raises(errors.WrongWeights, match="hf-hub:a/b does not hold weights of") as told:
        load_backbone("hf-hub:a/b")
    assert str(tmp_path) not in str(told.value)
    assert load_file(tmp_path / "snapshot" / "model.safetensors")


def test_without_a_network_a_repository_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    expected = r"the weights of hf-hub:a/b could not be fetched \(.*\): check the name and the"
    with pytest.raises(errors.BackboneUnavailable, match=expected):
        load_backbone("hf-hub:a/b")
