"""The image source: order by content, bounded look-ahead, clear errors."""

import hashlib
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from app.errors import Invalid, NotReady
from app.images import chunks
from app.images.decoder import Decoder
from tangent.backbones.geometry import Geometry
from tests.support.archives import LIMITS
from tests.support.stores import png
from training_worker.entries import entries
from training_worker.source import AHEAD, DECODERS, Entry, ImageSource, once_each, unit_of


class Values:
    """A preprocessing that keeps the grey value of each image's centre."""

    geometry = Geometry("both", (1, 1), Image.Resampling.NEAREST, (1, 1))

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels[:, 0, 0, :1].float()


def source(tmp_path, count: int, preprocess=None) -> ImageSource:
    """Return a source of grey images, each with its number as its grey value."""
    pack, made = bytearray(), []
    for value in range(count):
        data = png(np.full((4, 4, 3), value, np.uint8))
        sha256 = hashlib.sha256(data).hexdigest()
        made.append(Entry("label", sha256, f"img_{value}", f"{value}.png", len(pack), len(data)))
        pack += data
    path = tmp_path / "images.pack"
    path.write_bytes(pack)
    return ImageSource(made, path, preprocess or Values(), LIMITS)


def test_batches_hold_every_image_once_in_order_and_can_be_read_again(tmp_path):
    images = source(tmp_path, 23)
    for _ in range(2):
        batches = list(images.batches(5))
        assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
        assert torch.cat(batches).flatten().tolist() == list(range(23))


def test_a_batch_of_large_files_is_read_a_few_at_a_time(tmp_path, monkeypatch):
    sizes, pixels = [], Decoder.pixels

    def noted(self, files, *more):
        sizes.append([len(file) for file in files])
        return pixels(self, files, *more)

    monkeypatch.setattr(Decoder, "pixels", noted)
    images = source(tmp_path, 5)
    most = 2 * max(entry.pack_length for entry in images._entries)
    monkeypatch.setattr(chunks, "MAX_BYTES", most)
    assert torch.cat(list(images.batches(5))).flatten().tolist() == list(range(5))
    assert [len(some) for some in sizes] == [2, 2, 1] and all(sum(some) <= most for some in sizes)


def test_labels_name_one_label_an_image(tmp_path):
    assert source(tmp_path, 3).labels == ["label"] * 3


def test_decoding_runs_ahead_by_a_bounded_number_of_batches(tmp_path):
    decoded = []

    class Counted(Values):
        def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
            decoded.append(None)
            return super().normalize(pixels)

    batches = source(tmp_path, 100, Counted()).batches(1)
    next(batches)
    batches.close()
    assert len(decoded) <= AHEAD + 1 + DECODERS


def test_an_abandoned_reading_leaves_no_thread(tmp_path):
    batches = source(tmp_path, 50).batches(2)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def replaced(images: ImageSource, data: bytes) -> None:
    """Put another file in the place of the second image, in the pack and in its entry."""
    with images._pack.open("ab") as pack:
        images._entries[1] = images._entries[1]._replace(
            sha256=hashlib.sha256(data).hexdigest(),
            pack_offset=pack.tell(),
            pack_length=pack.write(data),
        )


def test_an_image_that_no_longer_decodes_is_named(tmp_path):
    images = source(tmp_path, 3)
    replaced(images, b"\xff no PNG")
    with pytest.raises(Invalid, match=r"image 1\.png of the dataset cannot be read") as caught:
        list(images.batches(2))
    assert caught.value.code == "image_unreadable"


def test_an_image_too_thin_to_be_resized_is_named(tmp_path):
    images = source(tmp_path, 3)
    replaced(images, png(np.zeros((1, 101, 3), np.uint8)))
    with pytest.raises(Invalid, match=r"image 1\.png .*one side more than 100 times") as caught:
        list(images.batches(2))
    assert caught.value.code == "image_unreadable"


def test_no_training_uses_an_image_of_which_a_bit_was_flipped(tmp_path):
    """An uncompressed picture decodes whatever its pixels are."""
    images = source(tmp_path, 3)
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(file, "BMP")
    replaced(images, file.getvalue())
    assert torch.cat(list(images.batches(2))).flatten().tolist() == [0, 9, 2]
    pack = bytearray(images._pack.read_bytes())
    pack[-1] ^= 0x40
    images._pack.write_bytes(pack)
    with pytest.raises(NotReady, match=r"the bytes of img_1 are not in .* pack: restore") as caught:
        list(images.batches(2))
    assert caught.value.code == "image_damaged"


def test_entries_are_ordered_by_content_whatever_the_upload_order(store):
    first, second = (store.add_dataset(labels=labels) for labels in ("ab", "ab"))
    with store.sessions() as session:
        found = [entries(session, dataset_id) for dataset_id in (first, second)]
    keys = [[(entry.label, entry.sha256) for entry in dataset] for dataset in found]
    assert keys[0] == keys[1] == sorted(keys[0])
    assert len(keys[0]) == 12


def test_an_image_under_two_labels_is_once_in_a_private_training():
    """It would count twice against a promise that is about one image."""
    rows = [("cat", "a"), ("cat", "b"), ("dog", "a"), ("dog", "c")]
    found = [Entry(label, sha256, f"img_{i}", "", 0, 0) for i, (label, sha256) in enumerate(rows)]
    assert [(each.label, each.sha256) for each in once_each(found)] == [
        ("cat", "a"),
        ("cat", "b"),
        ("dog", "c"),
    ]


def test_an_image_in_two_groups_is_in_a_private_training_by_groups_once_for_each():
    """Whichever of the groups is taken away, the other one contributes what it did."""
    rows = [("cat", "a", "p1"), ("cat", "a", "p2"), ("dog", "a", "p1"), ("dog", "b", None)]
    found = [
        Entry(label, sha256, f"img_{i}", "", 0, 0, group)
        for i, (label, sha256, group) in enumerate(rows)
    ]
    kept = once_each(found, by_group=True)
    assert [(each.label, each.group) for each in kept] == [
        ("cat", "p1"),
        ("cat", "p2"),
        ("dog", None),
    ]
    assert len({unit_of(each) for each in kept}) == 3
