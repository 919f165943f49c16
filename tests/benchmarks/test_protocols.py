"""Protocols deal as the papers' code does: sizes by their rule, every image to one party."""

import random

import numpy as np
import pytest

from benchmarks.accuracy.case import foreign
from benchmarks.accuracy.protocols import (
    CLASSES,
    DATA,
    NAMES,
    SKEWED,
    TASKS,
    Protocol,
    label_runs,
)

LABELS = 10
TRUTH = np.array([i % LABELS for i in range(400)])


def papers_sizes(labels: int, parties: int) -> list[int]:
    """K // T labels each, one more for the first K mod T."""
    each, more = divmod(labels, parties)
    return [each + (party < more) for party in range(parties)]


@pytest.mark.parametrize(
    ("labels", "parties", "expected"),
    [
        (67, 5, [14, 14, 13, 13, 13]),  # the papers' MIT-67
        (67, 10, [7] * 7 + [6] * 3),
        (67, 20, [4] * 7 + [3] * 13),
        (37, 5, [8, 8, 7, 7, 7]),  # Oxford Pets
        (37, 10, [4] * 7 + [3] * 3),
        (10, 5, [2] * 5),
    ],
)
def test_labels_are_dealt_in_runs_of_the_papers_sizes(labels, parties, expected):
    assert expected == papers_sizes(labels, parties)
    runs = label_runs(labels, parties, seed=0)
    assert [len(run) for run in runs] == expected
    assert np.concatenate(runs).tolist() == list(range(labels))


def test_another_seed_deals_the_labels_in_another_order():
    assert np.concatenate(label_runs(LABELS, 5, seed=1)).tolist() != list(range(LABELS))
    assert sorted(np.concatenate(label_runs(LABELS, 5, seed=1))) == list(range(LABELS))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 3])
def test_every_image_goes_to_one_party_and_the_same_seed_deals_the_same(name, seed):
    parts = Protocol(name, 10).deal(TRUTH, LABELS, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(TRUTH)))
    assert all(len(part) and (np.diff(part) > 0).all() for part in parts)
    again = Protocol(name, 10).deal(TRUTH, LABELS, seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    other = Protocol(name, 10).deal(TRUTH, LABELS, seed + 1)
    assert any(a.tolist() != b.tolist() for a, b in zip(parts, other, strict=False))


@pytest.mark.parametrize("name", [CLASSES, TASKS])
def test_a_party_has_all_images_of_its_labels_and_no_others(name):
    parts = Protocol(name, 4).deal(TRUTH, LABELS, 0)
    owned = [set(TRUTH[part].tolist()) for part in parts]
    assert owned == [{0, 1, 2}, {3, 4, 5}, {6, 7}, {8, 9}]
    assert [len(part) for part in parts] == [120, 120, 80, 80]


def test_images_are_dealt_in_turn_after_the_papers_shuffle():
    parts = Protocol(DATA, 7).deal(TRUTH, LABELS, 0)
    order = np.arange(len(TRUTH))
    np.random.default_rng(139).shuffle(order)
    hands: list[list[int]] = [[] for _ in range(7)]
    for position, image in enumerate(order.tolist()):
        hands[position % 7].append(image)
    assert [part.tolist() for part in parts] == [sorted(hand) for hand in hands]
    assert max(map(len, parts)) - min(map(len, parts)) == 1


def test_skewed_shares_leave_most_of_a_label_with_few_parties():
    truth = np.repeat(np.arange(LABELS), 1000)
    parts = Protocol(SKEWED, 10).deal(truth, LABELS, 0)
    counts = np.array([[(truth[part] == k).sum() for k in range(LABELS)] for part in parts])
    assert counts.sum(0).tolist() == [1000] * LABELS
    largest = np.sort(counts, axis=0)[::-1]
    assert (largest[:2].sum(0) > 600).mean() > 0.8  # an even deal would leave 200 with two
    even = Protocol(DATA, 10).deal(truth, LABELS, 0)
    assert max((truth[part] == 0).sum() for part in even) < 150


def test_a_skewed_party_without_images_is_left_out():
    parts = Protocol(SKEWED, 50).deal(TRUTH[:20], LABELS, 0)
    assert 0 < len(parts) < 50


@pytest.mark.parametrize(
    ("protocol", "message"),
    [(Protocol(CLASSES, 11), "10 labels cannot be dealt to 11"), (Protocol(DATA, 401), "400 imag")],
)
def test_more_parties_than_there_is_to_deal_are_refused(protocol, message):
    with pytest.raises(ValueError, match=message):
        protocol.deal(TRUTH, LABELS, 0)


def test_labels_are_masked_that_another_party_has():
    runs = label_runs(7, 3, seed=2)
    owner = {int(label): party for party, run in enumerate(runs) for label in run}
    truth = np.array(random.Random(0).choices(range(7), k=50))
    mask = foreign(truth, runs)
    for image, label in enumerate(truth.tolist()):
        for other in range(7):
            assert mask[image, other] == (owner[label] != owner[other])
