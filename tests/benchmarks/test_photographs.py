"""The measurement of backbones: what is drawn, what is read, and the tables that come of it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.tangents import with_settings
from benchmarks.measured import photographs as tables
from benchmarks.photographs import PARTIES, accuracy, drawn, found_at, photographs, trained


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Red and blue pictures, in a tar with a folder a label."""
    path = tmp_path_factory.mktemp("pictures") / "some.tar"
    draw = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for label, colour in (("red", 0), ("blue", 2)):
            for number in range(14):
                pixels = draw.integers(0, 60, (40, 50, 3), dtype=np.uint8)
                pixels[..., colour] += 150
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                entry = tarfile.TarInfo(f"{label}/{number}.png")
                entry.size = file.tell()
                file.seek(0)
                tar.addfile(entry, file)
    return Gallery("resnet_micro_32", photographs(path))


def test_an_archive_without_photographs_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(SystemExit, match="has no photographs: give a tar of <label>/<file>"):
        photographs(tmp_path / "empty.tar")


def test_parties_and_test_images_share_nothing_and_every_label_has_its_number(gallery):
    draw = drawn(gallery, 3, train=10, test=4)
    everything = np.concatenate([*draw.parts, draw.test])
    assert len(draw.parts) == PARTIES and len(set(everything)) == len(everything) == 28
    assert np.bincount(gallery.truth[draw.test]).tolist() == [4, 4]
    assert not np.array_equal(draw.test, drawn(gallery, 4, train=10, test=4).test)


def test_what_tells_labels_apart_is_measured_as_right(gallery):
    draw = drawn(gallery, 0, train=10, test=4)
    space = gallery.space("head")
    assert accuracy(space, gallery, draw, trained(space, gallery, draw, {}), "joint") == 1


def test_a_penalty_that_is_given_is_not_chosen(gallery):
    draw = drawn(gallery, 0, train=10, test=4)
    fitted = trained(gallery.space("head"), gallery, draw, {})[0]
    assert fitted.component.hyperparameters["choose_l2"]
    for given, chosen in (({"l2": 0.5}, False), ({"beta": 3.0}, True), ({"choose_l2": True}, True)):
        settings = with_settings(fitted, given).component.hyperparameters
        assert settings["choose_l2"] is chosen
        assert {name: settings[name] for name in given} == given


def test_every_rule_and_penalty_has_its_column(gallery):
    found = list(found_at(gallery, "head", [drawn(gallery, 0, train=10, test=4)]))
    seconds = [{"backbone": "resnet_micro_32", "seconds": 0.25}]
    demo = [{"backbone": "resnet_micro_32", "processor_seconds": 12.5}]
    text = tables(
        {"command": "c", "machine": "m", "accuracies": found, "seconds": seconds, "demo": demo}
    )
    assert "| photographs | `resnet_micro_32` | `head` | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    assert "| `resnet_micro_32` | 0.25 s | 12 s |" in text
