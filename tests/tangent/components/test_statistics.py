"""Sufficient statistics: sums over images, whatever the split, the order and the labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.components.statistics import Statistics, measure, pack, total, unpack

WIDTH = 5
labels = st.lists(st.sampled_from("abcd"), min_size=1, max_size=24)
seeds = st.integers(0, 2**31)


def features(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)


def close(one: Statistics, two: Statistics) -> bool:
    return (
        one.counts == two.counts
        and torch.allclose(one.gram, two.gram, rtol=1e-12, atol=1e-12)
        and torch.allclose(one.sums, two.sums, rtol=1e-12, atol=1e-12)
    )


@settings(deadline=None, max_examples=40)
@given(names=labels, seed=seeds)
def test_statistics_are_sums_over_the_images(names, seed):
    psi = features(len(names), seed)
    found = measure(psi, names)
    rows = psi.numpy()
    gram = sum(np.outer(row, row) for row in rows)
    assert found.labels == tuple(sorted(set(names)))
    np.testing.assert_allclose(found.gram, gram, rtol=1e-12, atol=1e-12)
    for name, own in zip(found.labels, found.sums, strict=True):
        mine = [row for row, label in zip(rows, names, strict=True) if label == name]
        assert found.counts[name] == len(mine)
        np.testing.assert_allclose(own, np.sum(mine, axis=0), rtol=1e-12, atol=1e-12)
    assert found.images == len(names)


@settings(deadline=None, max_examples=40)
@given(names=labels, seed=seeds, data=st.data())
def test_the_statistics_of_a_union_are_the_sum_of_the_parts(names, seed, data):
    psi = features(len(names), seed)
    owner = data.draw(st.lists(st.integers(0, 3), min_size=len(names), max_size=len(names)))
    parts = []
    for part in sorted(set(owner)):
        rows = [i for i, each in enumerate(owner) if each == part]
        parts.append(measure(psi[rows], [names[i] for i in rows]))
    assert close(total(parts, [1.0] * len(parts)), measure(psi, names))


@settings(deadline=None, max_examples=25)
@given(names=labels, seed=seeds, times=st.integers(1, 4))
def test_a_whole_weight_counts_every_image_that_often(names, seed, times):
    psi = features(len(names), seed)
    weighted = total([measure(psi, names)], [float(times)])
    assert close(weighted, measure(psi.repeat(times, 1), names * times))


def test_float32_features_are_summed_in_float64():
    psi = torch.full((4096, 2), 0.1, dtype=torch.float32)
    found = measure(psi, ["a"] * 4096)
    assert found.gram.dtype == found.sums.dtype == torch.float64
    expected = 4096 * float(np.float32(0.1)) ** 2
    assert found.gram[0, 0].item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("width", [1, 2, 7])
def test_packing_keeps_a_symmetric_matrix_bit_for_bit(width):
    root = torch.randn(width, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram = root @ root.T
    gram = (gram + gram.T) / 2
    packed = pack(gram)
    assert packed.shape == (width * (width + 1) // 2,)
    assert torch.equal(packed, torch.from_numpy(gram.numpy()[np.triu_indices(width)]))
    assert torch.equal(unpack(packed, width), gram)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, count=st.integers(1, 40))
def test_a_measured_gram_is_symmetric_to_the_last_bit(seed, count):
    gram = measure(features(count, seed), ["a"] * count).gram
    assert torch.equal(gram, gram.T)


def test_statistics_say_nothing_of_labels_without_images():
    found = total([measure(features(2, 0), ["b", "b"]), measure(features(1, 1), ["a"])], [1.0, 1.0])
    assert found.labels == ("a", "b")
    assert found.counts == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("width", [1, 2, 127, 128, 129, 300])
def test_a_packed_triangle_gives_the_symmetric_matrix_back(width):
    half = torch.randn(width, width, generator=torch.Generator().manual_seed(width)).double()
    gram = half + half.T
    found = unpack(pack(gram), width)
    assert torch.equal(found, gram)
    assert found.is_contiguous()
