"""The joint rule against training on the pooled data: equal for any split of images and labels."""

import hashlib
from functools import cache
from itertools import chain

import numpy as np
import pytest
import torch

import tangent
from tests.support.models import Source, delta_bytes, fitted, relative, source, space

SIZE, COUNT = 16, 45
LABELS = ("cat", "dog", "eel", "fox", "gnu")
how = pytest.mark.parametrize("declared", [(), ("cat", "owl", "yak")], ids=["none", "declared"])
scopes = pytest.mark.parametrize("scope", ["head", "head2toe"])


@cache
def pool() -> Source:
    return source(SIZE, [LABELS[(i * i + i // 7) % 5] for i in range(COUNT)])


def disjoint() -> list[list[int]]:
    """Parties that share no label."""
    owner = {"cat": 0, "dog": 0, "eel": 1, "fox": 2, "gnu": 1}
    return [[i for i, n in enumerate(pool().labels) if owner[n] == t] for t in range(3)]


def alike() -> list[list[int]]:
    """Parties with the same labels."""
    return [list(range(t, COUNT, 4)) for t in range(4)]


def late() -> list[list[int]]:
    """Parties that each bring a new label, and a label of an earlier party again."""
    parts: list[list[int]] = [[] for _ in LABELS]
    for i, name in enumerate(pool().labels):
        parts[min(LABELS.index(name) + i % 2, 4)].append(i)
    return parts


def dirichlet(seed: int) -> list[list[int]]:
    """Per label, shares of the parties drawn from Dirichlet(0.1)."""
    draw = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(5)]
    for name in LABELS:
        mine = [i for i, label in enumerate(pool().labels) if label == name]
        for i, t in zip(mine, draw.choice(5, len(mine), p=draw.dirichlet([0.1] * 5)), strict=True):
            parts[t].append(i)
    return [part for part in parts if part]


SPLITS = {
    "disjoint": disjoint,
    "alike": alike,
    "late": late,
    "one image each": lambda: [[i] for i in range(COUNT)],
    "dirichlet 0": lambda: dirichlet(0),
    "dirichlet 1": lambda: dirichlet(1),
}


def joint(where, parts, scratch, weights=None, **given) -> tangent.Delta:
    """Train every part alone; compose the components by the joint rule."""
    alone = [fitted(where, pool().chosen(part), scratch, **given).component for part in parts]
    shas = [hashlib.sha256(each.to_bytes()).hexdigest() for each in alone]
    weights = weights or [None] * len(alone)
    return tangent.compose(where, list(zip(alone, weights, strict=True)), "joint", shas=shas)


def pooled(where, index, scratch, **given) -> tuple[tuple[str, ...], torch.Tensor]:
    """The head of one training on all the data, its rows of labels that have images."""
    whole = fitted(where, pool().chosen(index), scratch, **given).component
    labels = tuple(name for name in whole.head_labels if name in whole.labels)
    return labels, whole.head[[whole.head_labels.index(name) for name in labels]]


@how
@scopes
@pytest.mark.parametrize("split", SPLITS)
def test_joint_equals_training_on_the_pooled_data(split, scope, declared, tmp_path):
    where, parts = space("mini", scope, declared), SPLITS[split]()
    assert sorted(chain(*parts)) == list(range(COUNT))
    labels, expected = pooled(where, range(COUNT), tmp_path)
    found = joint(where, parts, tmp_path)
    assert found.labels == labels == LABELS
    assert relative(found.head, expected) <= 1e-8


@pytest.mark.parametrize("given", [{"beta": 3.0}, {"l2": 0.5}, {"l2": 1e-6}], ids=str)
def test_joint_holds_for_other_targets_and_penalties(given, tmp_path):
    where = space("mini", "head")
    _, expected = pooled(where, range(COUNT), tmp_path, **given)
    assert relative(joint(where, disjoint(), tmp_path, **given).head, expected) <= 1e-8


@how
@scopes
def test_a_whole_weight_counts_the_partys_data_that_often(scope, declared, tmp_path):
    where, parts = space("mini", scope, declared), late()
    weights = [2.0, None, 3.0, 1.0, 2.0]
    often = [i for part, w in zip(parts, weights, strict=True) for i in part * int(w or 1)]
    _, expected = pooled(where, often, tmp_path, l2=1e-4)
    assert relative(joint(where, parts, tmp_path, weights, l2=1e-4).head, expected) <= 1e-8


@scopes
def test_weights_of_one_are_no_weights(scope, tmp_path):
    where, parts = space("mini", scope), alike()
    plain = joint(where, parts, tmp_path)
    assert delta_bytes(joint(where, parts, tmp_path, [1.0] * 4)) == delta_bytes(plain)


@how
@scopes
def test_without_one_party_it_is_the_training_that_never_saw_it(scope, declared, tmp_path):
    where, parts = space("mini", scope, declared), disjoint()
    rest = parts[:1] + parts[2:]
    labels, expected = pooled(where, list(chain(*rest)), tmp_path)
    found = joint(where, rest, tmp_path)
    assert found.labels == labels == ("cat", "dog", "fox")
    assert relative(found.head, expected) <= 1e-8
    everyone = joint(where, parts, tmp_path)
    assert relative(everyone.head[:2], found.head[:2]) > 1e-3  # the party did count


def test_one_party_alone_is_its_own_training(tmp_path):
    where = space("mini", "head2toe", ("owl",))
    labels, expected = pooled(where, disjoint()[0], tmp_path)
    found = joint(where, disjoint()[:1], tmp_path)
    assert found.labels == labels
    assert relative(found.head, expected) <= 1e-8


def test_parties_with_targets_of_their_own_keep_them(tmp_path):
    """The optimum of one objective in which each image has its own party's target and penalty."""
    where, parts = space("mini", "head"), alike()[:2]
    settings = [{"beta": 5.0, "l2": 0.01}, {"beta": 20.0, "l2": 0.4}]
    alone = [
        fitted(where, pool().chosen(part), tmp_path, **given).component
        for part, given in zip(parts, settings, strict=True)
    ]
    found = tangent.compose(where, [(each, None) for each in alone], "joint", shas="ab")
    index = list(chain(*parts))
    psi = where.readout(pool().pixels[index]).numpy()
    beta = np.repeat([5.0, 20.0], [len(part) for part in parts])
    ridge = sum(g["l2"] * len(p) for g, p in zip(settings, parts, strict=True)) * 5 / 2
    base = where.base_rows(LABELS).numpy()
    true = np.array([[pool().labels[i] == name for name in LABELS] for i in index], dtype=float)
    right = psi.T @ (beta[:, None] * true - psi @ base.T)
    expected = np.linalg.solve(psi.T @ psi + ridge * np.eye(psi.shape[1]), right).T
    assert relative(found.head, torch.from_numpy(expected)) <= 1e-9
