"""Hash images: the same for ever, and a hash that any digit of an answer changes."""

import hashlib
import platform

import numpy as np
import pytest
import torch

from tangent.spaces import reproducibility


def test_the_images_are_the_bytes_of_a_published_function():
    images = reproducibility.hash_images(4)
    drawn = hashlib.shake_256(b"tangent-composer probe images 1").digest(8 * 3 * 4 * 4)

    assert images.shape == (8, 3, 4, 4) and images.dtype == torch.float32
    assert [float(each) for each in images.flatten()] == [byte / 64 - 2 for byte in drawn]


def test_the_images_look_like_normalised_ones():
    images = reproducibility.hash_images(64)

    assert abs(images.mean()) < 0.02 and 1.1 < images.std() < 1.2
    assert images.min() == -2 and images.max() < 2


def test_the_hash_is_of_the_labels_and_the_float32_bytes():
    logits = np.arange(16, dtype=np.float32).reshape(8, 2)
    expected = hashlib.sha256('["cat","ö"]\n'.encode() + logits.tobytes()).hexdigest()

    assert reproducibility.answer_hash(("cat", "ö"), logits) == expected
    assert reproducibility.answer_hash(["cat", "ö"], np.asfortranarray(logits)) == expected
    assert reproducibility.answer_hash(("cat", "o"), logits) != expected
    logits[3, 1] = np.nextafter(logits[3, 1], 0)
    assert reproducibility.answer_hash(("cat", "ö"), logits) != expected


def test_the_hash_of_other_than_the_probes_answers_is_refused():
    with pytest.raises(ValueError, match=r"logits have shape \(8, 2\), expected \(8, 3\)"):
        reproducibility.answer_hash(("a", "b", "c"), np.zeros((8, 2), np.float32))


def test_the_processor_is_told_by_its_model_and_never_by_the_machines_name(tmp_path, monkeypatch):
    assert platform.node() not in reproducibility.processor()
    monkeypatch.setattr(reproducibility, "CPUS", tmp_path / "cpuinfo")
    reproducibility.processor.cache_clear()
    assert reproducibility.processor() == ""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Chip 9000: X\n" * 2)
    reproducibility.processor.cache_clear()
    assert reproducibility.processor() == "Chip 9000: X"
    reproducibility.processor.cache_clear()
