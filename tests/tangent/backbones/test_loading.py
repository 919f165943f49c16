"""Backbones: shipped, local and by name; each with its own preprocessing; alone in a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tangent
from tangent import errors
from tangent.backbones import loading as module
from tangent.backbones import torchvision_guard
from tangent.backbones.loading import create_untrained, load_backbone, wrap
from tests.support.models import backbone, fresh, images

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ("resnet_micro_32", "vit_micro_32")
CONFIG = {
    "architecture": "test_vit",
    "pretrained_cfg": {
        "input_size": [3, 160, 160],
        "mean": [0.25, 0.5, 0.75],
        "std": [0.5, 0.25, 0.125],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
    },
}


def local(folder: Path, drop: str = "", config: dict | str | None = CONFIG, **more) -> Path:
    """A weights file of timm's smallest ViT, with its configuration beside it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = create_untrained("test_vit", 0).state_dict()
    state = {k: v.clone() for k, v in state.items() if k != drop} | more
    path = folder / "weights.safetensors"
    save_file(state, path)
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "config.json").write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_backbone_opens_offline(name):
    assert name in tangent.shipped_backbones()
    held = load_backbone(name)
    assert (held.name, held.image_size) == (name, 32)
    assert not held.model.training
    features = held.model(torch.stack([held.preprocess(picture(48, 40))] * 2))
    assert features.shape == (2, held.width)
    assert torch.isfinite(features).all()
    assert load_backbone(name).fingerprint == held.fingerprint
    names = [key for key, _ in held.model.named_parameters()]
    assert tangent.backbones.scope.tangent_parameters(held.model, "all") == names
    assert (
        0 < len(tangent.backbones.scope.tangent_parameters(held.model, "last-block")) < len(names)
    )


def picture(width: int, height: int) -> Image.Image:
    draw = np.random.default_rng(0)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet_micro", "resnet_micro_32"),
        ("vit_micro32", "vit_micro_32"),
        ("resnet5O", "resnet50"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(errors.UnknownBackbone, match=f"is called '{name}'; .*{nearest}"):
        load_backbone(name)


@pytest.mark.parametrize("name", ["", "qqqqqqqqqq", "../../etc/passwd", "weights.bin", "a:b"])
def test_a_name_like_nothing_is_answered_with_some_that_work(name):
    with pytest.raises(errors.UnknownBackbone, match="no backbone is called"):
        load_backbone(name)


def test_weights_that_cannot_be_fetched_say_what_else_to_use(monkeypatch):
    class Offline:
        def model_info(self, *_, **__):
            raise OSError("no network here")

    monkeypatch.setattr(module, "HfApi", Offline)
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(errors.BackboneUnavailable, match=r"a shipped backbone \(resnet_micro_32"):
        load_backbone("resnet18")


def test_a_local_file_opens_with_the_preprocessing_of_its_own_checkpoint(tmp_path):
    path = local(tmp_path)
    held = load_backbone(str(path))
    assert held.image_size == 160
    pixels = held.preprocess(Image.new("RGB", (200, 170), (51, 102, 204)))
    assert pixels.shape == (3, 160, 160) and pixels.dtype == torch.float32
    expected = [(0.2 - 0.25) / 0.5, (0.4 - 0.5) / 0.25, (0.8 - 0.75) / 0.125]
    for channel, value in zip(pixels, expected, strict=True):
        assert torch.allclose(channel, torch.tensor(value), atol=1e-6)


def test_preprocessing_resizes_the_short_side_and_crops_the_centre():
    size = backbone("vit").image_size
    config = {"input_size": (3, size, size), "mean": (0, 0, 0), "std": (1, 1, 1), "crop_pct": 1.0}
    held = wrap("x", fresh("vit"), config)
    wide = picture(64, 16)
    expected = np.asarray(wide)[:, 24:40].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(held.preprocess(wide).numpy(), expected, atol=1e-6)


def test_a_local_file_is_the_same_backbone_under_any_path_or_name(tmp_path):
    path = local(tmp_path)
    named = load_backbone(f"test_vit:{path}")
    (tmp_path / "weights.json").write_text(json.dumps(CONFIG))
    (tmp_path / "config.json").unlink()
    beside = load_backbone(str(path))
    moved = path.rename(tmp_path / "weights2.safetensors")
    (tmp_path / "weights.json").rename(tmp_path / "weights2.json")
    prints = {named.fingerprint, beside.fingerprint, load_backbone(str(moved)).fingerprint}
    assert len(prints) == 1


def test_another_architecture_with_the_same_weights_is_another_backbone(tmp_path):
    """Two of timm's ViTs differ in their activation alone, which no weight shows."""
    found = []
    for architecture in ("vit_base_patch16_clip_224", "vit_base_patch16_clip_quickgelu_224"):
        sizes = dict(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = create_untrained(architecture, 0, **sizes)
        found.append(wrap("x", model, {"input_size": (3, 16, 16)}))
    one, two = found
    x = images(16, 1).float()
    assert all(map(torch.equal, one.model.state_dict().values(), two.model.state_dict().values()))
    assert not torch.allclose(one.model(x), two.model(x), rtol=1e-6)
    assert one.fingerprint != two.fingerprint


def test_half_precision_weights_are_used_as_float32(tmp_path):
    whole = local(tmp_path)
    held = load_backbone(str(whole))
    state = {k: v.half() for k, v in held.model.state_dict().items()}
    save_file(state, whole)
    found = load_backbone(str(whole))
    for key, value in found.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (
            dict(drop="norm.weight"),
            errors.BackboneUnavailable,
            "lacks 1 tensors, norm.weight first",
        ),
        (
            {"norm.bias": torch.zeros(3)},
            errors.BackboneUnavailable,
            "(?s)does not hold weights of test_vit: .*norm.bias",
        ),
        (dict(config=None), errors.UnknownBackbone, "names no architecture: call it <timm name>:"),
        (dict(config={}), errors.UnknownBackbone, "names no architecture"),
        (
            dict(config={"architecture": "test_vitt"}),
            errors.UnknownBackbone,
            "beside .*weights.safetensors names no architecture of timm, such as resnet50$",
        ),
        (dict(config={"architecture": ["a"]}), errors.UnknownBackbone, "names no architecture of"),
        (dict(config="{"), errors.BackboneUnavailable, "config.json is no configuration of timm"),
        (dict(config="[1]"), errors.BackboneUnavailable, "config.json is no configuration of timm"),
    ],
    ids=["missing", "shape", "no config", "no name", "unknown", "list name", "no JSON", "a list"],
)
def test_local_weights_that_do_not_fit_are_refused(spoil, kind, sentence, tmp_path):
    path = local(tmp_path, **spoil)
    with pytest.raises(kind, match=sentence):
        load_backbone(str(path))


def test_a_missing_or_damaged_weights_file_is_refused(tmp_path):
    with pytest.raises(errors.UnknownBackbone, match="there is no weights file at"):
        load_backbone(str(tmp_path / "none.safetensors"))
    path = local(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(errors.BackboneUnavailable, match="does not hold weights of test_vit"):
        load_backbone(str(path))


def test_a_model_that_does_not_pool_is_refused():
    sizes = dict(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2)
    model = create_untrained("vit_tiny_patch16_224", 0, global_pool="", **sizes)
    with pytest.raises(errors.UnsupportedModel, match="choose a model that pools its features"):
        wrap("x", model, {"input_size": (3, 16, 16)})


def test_a_model_without_blocks_or_depths_is_refused_at_the_scopes_that_need_them():
    with torch.random.fork_rng():
        held = wrap("plain", Plain(), {"input_size": (3, 8, 8)})
    assert tangent.Space(held, "all").suffix is not None
    with pytest.raises(errors.UnsupportedModel, match="timm groups no blocks for Plain"):
        tangent.Space(held, "last-block")
    with pytest.raises(errors.UnsupportedModel, match="no intermediate features for Plain"):
        tangent.Space(held, "head2toe")


class Plain(torch.nn.Module):
    """A model of no timm family."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(192, 4)

    def reset_classifier(self, _count: int) -> None:
        pass

    def forward(self, x):
        return self.layer(x.flatten(1))


def run(code: str, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_the_mathematics_run_without_the_service():
    code = (
        "import sys, tangent\n"
        "ours = {'app', 'training_worker', 'sqlalchemy', 'fastapi', 'pydantic', 'dbos'}\n"
        "print(sorted(ours & set(sys.modules)))"
    )
    assert run(code) == "[]"


GUARD = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("guard", sys.argv[1])
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
for folder in sys.argv[2:]:
    sys.path.insert(0, folder)
    try:
        guard.import_torchvision()
        guard.import_torchvision()
        print(Path(sys.modules["torchvision"].__file__).parent.name, len(guard._declared))
    except RuntimeError as error:
        print(error)
    sys.modules.pop("torchvision", None)
"""
NEEDS_NMS = "import torch\n@torch.library.register_fake('torchvision::nms')\ndef _(*a): ...\n"


def test_the_guard_declares_operators_only_where_torchvision_does_not_fit(tmp_path):
    bodies = {"broken": "raise RuntimeError('a broken build')", "fits": "", "unfit": NEEDS_NMS}
    for name, body in bodies.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "torchvision.py").write_text(body)
    folders = [str(tmp_path / name) for name in bodies]
    found = run(GUARD, str(torchvision_guard.__file__), *folders)
    assert found.splitlines() == ["a broken build", "fits 0", "unfit 1"]


def test_importing_the_guard_again_declares_nothing_more():
    before = len(torchvision_guard._declared)
    torchvision_guard.import_torchvision()
    assert len(torchvision_guard._declared) == before
