"""Pre-training reads an archive's images by label, all of them or a choice."""

import io
import tarfile

import pytest
import torch
from PIL import Image

from tangent.backbones.pretraining import read_archive

LABELS = ("cat", "cow", "dog")


@pytest.fixture
def archive(tmp_path):
    """Three labels with as many training images as the label's place; one test image each."""
    path = tmp_path / "animals.tar"
    with tarfile.open(path, "w") as tar:
        for place, label in enumerate(LABELS, start=1):
            for part, count in (("train", place), ("test", 1)):
                for number in range(count):
                    file = io.BytesIO()
                    Image.new("RGB", (8, 8), (place, number, 0)).save(file, "PNG")
                    entry = tarfile.TarInfo(f"animals/{part}/{label}/{number}.png")
                    entry.size = file.tell()
                    file.seek(0)
                    tar.addfile(entry, file)
    return path


def test_labels_are_numbered_in_sorted_order(archive):
    images, targets = read_archive(archive, size=8)["train"]
    assert targets.tolist() == [0, 1, 1, 2, 2, 2]
    assert images[:, 0, 0, 0].tolist() == [1, 2, 2, 3, 3, 3]


def test_a_choice_of_labels_leaves_the_others_images_out(archive):
    found = read_archive(archive, size=8, only=["dog", "cat"])
    assert found["train"][1].tolist() == [0, 1, 1, 1]
    assert found["train"][0][:, 0, 0, 0].tolist() == [1, 3, 3, 3]
    assert torch.equal(found["test"][1], torch.tensor([0, 1]))


def test_a_label_that_is_not_there_is_named_with_those_that_are(archive):
    with pytest.raises(SystemExit, match="has no label horse; it has cat, cow, dog"):
        read_archive(archive, only=["cat", "dog", "horse"])


def test_an_archive_of_another_layout_is_refused(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("cat/0.png"))
    with pytest.raises(SystemExit, match="expected train/<label>/<image>"):
        read_archive(tmp_path / "empty.tar", only=["cat"])
