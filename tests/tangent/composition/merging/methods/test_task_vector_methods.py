"""Formulas on task vectors: against naive twins with loops, by hand, and in their limits."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tangent.composition.merging.methods.breadcrumbs import breadcrumbs
from tangent.composition.merging.methods.dare import dare, mask
from tangent.composition.merging.methods.pcb import pcb
from tangent.composition.merging.methods.task_arithmetic import task_arithmetic
from tangent.composition.merging.methods.ties import ties
from tangent.composition.merging.task_vectors import HEAD, Layout, TaskVectors
from tests.support.task_vectors import by_hand, vectors

SHAS = ["11", "22", "33"]


def entries(of: TaskVectors):
    """Entry by entry: the values, weights and parents of those that have it."""
    for p in range(of.values.shape[1]):
        yield [
            (float(w), float(row[p]))
            for w, row, held in zip(of.weights, of.values, of.held, strict=True)
            if held[p]
        ]


def close(found: Tensor, expected) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


seeds = pytest.mark.parametrize("seed", range(4))


@seeds
def test_task_arithmetic_is_the_scaled_sum(seed):
    of = vectors(seed, weights=(1.0, -0.5, 2.0))
    expected = [0.3 * sum(w * x for w, x in entry) for entry in entries(of)]
    assert close(task_arithmetic(of, scale=0.3), expected)


def naive_ties(of: TaskVectors, density: float) -> list[float]:
    """Parent by parent with sorted lists, then entry by entry."""
    kept = []
    for row, held in zip(of.values.tolist(), of.held.tolist(), strict=True):
        own = [i for i, has in enumerate(held) if has]
        best = sorted(own, key=lambda i: -abs(row[i]))[: round(density * len(own))]
        kept.append([x if i in best else 0.0 for i, x in enumerate(row)])
    merged = []
    for column in zip(*kept, strict=True):
        pairs = list(zip(of.weights.tolist(), column, strict=True))
        sign = np.sign(sum(w * x for w, x in pairs))
        agreeing = [(w, x) for w, x in pairs if x != 0 and np.sign(x) == sign]
        below = sum(w for w, _ in agreeing)
        merged.append(sum(w * x for w, x in agreeing) / below if agreeing else 0.0)
    return merged


@seeds
@pytest.mark.parametrize("density", [0.0, 0.2, 0.5, 1.0])
def test_ties_is_its_naive_twin(seed, density):
    of = vectors(seed)
    assert close(ties(of, density=density, scale=1.0), naive_ties(of, density))


def test_ties_by_hand():
    # Trimmed to two entries each: (3, 0, -2, 0), (-1, 4, 0, 0), (0, 0, -6, 5).
    of = by_hand([3, 1, -2, 0.5], [-1, 4, 0.1, 0.2], [0.3, 1, -6, 5])
    assert close(ties(of, density=0.5, scale=1.0), [3, 4, -4, 5])
    assert close(ties(of, density=0.5, scale=0.5), [1.5, 2, -2, 2.5])


def test_ties_where_the_signs_are_even_is_zero():
    assert close(ties(by_hand([2.0, 1.0], [-2.0, 3.0]), density=1.0, scale=1.0), [0, 2])


@seeds
def test_ties_of_equal_signs_without_trimming_is_the_mean_of_those_that_have_the_row(seed):
    of = vectors(seed)
    of = of.with_values(of.values.abs())
    found = ties(of, density=1.0, scale=1.0)
    expected = [sum(w * x for w, x in e) / sum(w for w, _ in e) for e in entries(of)]
    assert close(found, expected) and torch.allclose(found, of.mean())


def test_dare_that_drops_nothing_is_task_arithmetic_or_ties():
    of, given = vectors(), {"drop": 0.0, "density": 0.4, "scale": 0.7, "seed": 5, "shas": SHAS}
    assert torch.equal(dare(of, merge="linear", **given), task_arithmetic(of, scale=0.7))
    assert torch.equal(dare(of, merge="ties", **given), ties(of, density=0.4, scale=0.7))


@pytest.mark.parametrize("merge", ["linear", "ties"])
def test_dare_merges_what_its_masks_leave_rescaled(merge):
    of = vectors()
    found = dare(of, drop=0.5, merge=merge, density=1.0, scale=1.0, seed=5, shas=SHAS)
    masks = [mask(of.layout, 0.5, 5, sha256) for sha256 in SHAS]
    assert {0.0, 1.0} == {float(x) for each in masks for x in each}
    left = of.with_values(torch.stack([2 * m * v for m, v in zip(masks, of.values, strict=True)]))
    expected = task_arithmetic(left, scale=1.0) if merge == "linear" else naive_ties(left, 1.0)
    assert torch.equal(found, torch.as_tensor(expected, dtype=torch.float64))


def test_dares_masks_drop_the_share_asked_for_and_depend_on_seed_parent_and_label_alone():
    shapes = {HEAD: torch.Size([2, 500]), "w": torch.Size([40, 50])}
    layout = Layout(("ant", "cat"), shapes)
    drawn = mask(layout, 0.9, 1, "aa")
    assert 1 - float(drawn.mean()) == pytest.approx(0.9, abs=0.02)
    assert torch.equal(drawn, mask(layout, 0.9, 1, "aa"))
    assert not torch.equal(drawn, mask(layout, 0.9, 2, "aa"))
    assert not torch.equal(drawn, mask(layout, 0.9, 1, "bb"))
    wider = Layout(("ant", "bee", "cat"), shapes | {HEAD: torch.Size([3, 500])})
    more = mask(wider, 0.9, 1, "aa")
    assert torch.equal(more[:500], drawn[:500]) and torch.equal(more[1000:], drawn[500:])


def test_dare_is_right_on_average():
    of, found = vectors(), []
    for seed in range(4000):
        given = {"drop": 0.3, "merge": "linear", "density": 1.0, "scale": 1.0}
        found.append(dare(of, **given, seed=seed, shas=SHAS))
    away = (torch.stack(found).mean(0) - of.total()).abs().max()
    assert float(away) <= 0.1  # four standard errors of the largest entry


@seeds
def test_breadcrumbs_is_its_naive_twin(seed):
    of, expected = vectors(seed, weights=(1.0, -1.0, 0.5)), np.zeros(len(vectors().values[0]))
    for weight, row, held in zip(of.weights, of.values, of.held, strict=True):
        for at in of.layout.slices.values():
            own = [i for i in range(at.start, at.stop) if held[i]]
            ranked = sorted(own, key=lambda i: abs(float(row[i])))
            for i in ranked[round(0.4 * len(own)) : len(own) - round(0.2 * len(own))]:
                expected[i] += 0.3 * float(weight) * float(row[i])
    assert close(breadcrumbs(of, smallest=0.4, largest=0.2, scale=0.3), expected.tolist())


def test_breadcrumbs_by_hand():
    of = by_hand([5, -1, 2, -4, 3], [1, 2, 3, 4, 5])
    found = breadcrumbs(of, smallest=0.4, largest=0.2, scale=1.0)
    assert close(found, [0, 0, 3, -4 + 4, 3])


def test_breadcrumbs_that_mask_nothing_are_task_arithmetic_and_all_is_nothing():
    of = vectors()
    everything = breadcrumbs(of, smallest=0.0, largest=0.0, scale=0.3)
    assert torch.equal(everything, task_arithmetic(of, scale=0.3))
    assert not breadcrumbs(of, smallest=0.7, largest=0.3, scale=0.3).any()


def naive_pcb(of: TaskVectors, keep: float) -> list[float]:
    """From the definition, one number at a time."""
    parents = range(len(of.values))
    scores = [dict[int, float]() for _ in parents]
    for t in parents:
        own = [i for i in range(of.values.shape[1]) if of.held[t, i]]
        x = {i: float(of.values[t, i]) for i in own}
        intra = naive_softmax({i: len(parents) * v for i, v in naive_norm(x, x).items()})
        inter = dict.fromkeys(own, 0.0)
        for s in parents:
            other = {i: float(of.values[s, i]) for i in own}
            for i, share in naive_softmax(naive_norm(x, other)).items():
                inter[i] += share
        score = {i: intra[i] * inter[i] for i in own}
        for i in sorted(own, key=lambda i: -score[i])[: round(keep * len(own))]:
            scores[t][i] = score[i]
    merged = []
    for i in range(of.values.shape[1]):
        pairs = [(float(of.weights[t]) * scores[t].get(i, 0.0), t) for t in parents]
        below = sum(w for w, _ in pairs)
        merged.append(sum(w * float(of.values[t, i]) for w, t in pairs) / below if below else 0.0)
    return merged


def naive_norm(x: dict[int, float], y: dict[int, float]) -> dict[int, float]:
    found = {i: x[i] * y[i] for i in x}
    low, high = min(found.values()), max(found.values())
    return {i: (v - low) / (high - low) for i, v in found.items()}


def naive_softmax(x: dict[int, float]) -> dict[int, float]:
    total = sum(np.exp(v) for v in x.values())
    return {i: float(np.exp(v) / total) for i, v in x.items()}


@seeds
@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_pcb_is_its_naive_twin(seed, keep):
    of = vectors(seed)
    found = pcb(of, keep=keep, scale=1.0)
    expected = torch.tensor(naive_pcb(of, keep), dtype=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-10, atol=0)


def test_pcb_of_one_parent_keeps_its_largest_entries():
    of = by_hand([3.0, -1.0, 0.5, -4.0])
    assert close(pcb(of, keep=0.5, scale=2.0), [6, 0, 0, -8])
    assert close(pcb(of, keep=1.0, scale=1.0), [3, -1, 0.5, -4])


def test_pcb_of_like_parents_is_any_of_them():
    of = by_hand(*[[3.0, -1.0, 0.5, -4.0]] * 3, weights=[1.0, 2.0, 0.5])
    assert close(pcb(of, keep=1.0, scale=1.0), [3, -1, 0.5, -4])


FORMULAS = {
    "task_arithmetic": lambda of: task_arithmetic(of, scale=1.0),
    "ties": lambda of: ties(of, density=0.5, scale=1.0),
    "breadcrumbs": lambda of: breadcrumbs(of, smallest=0.2, largest=0.1, scale=1.0),
    "pcb": lambda of: pcb(of, keep=0.5, scale=1.0),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("seed", range(3))
def test_a_label_of_one_parent_alone_is_not_thinned_by_the_others(name, seed):
    """The row of a label is the same whether the others lack it or are not there at all."""
    both = vectors(seed, (("ant", "bee"), ("cat",)), (1.0, 1.0))
    both = both.with_values(both.values * torch.cat([torch.ones(9), torch.zeros(12)]))
    alone = TaskVectors(both.layout, both.values[:1], both.held[:1], both.weights[:1])
    if name == "pcb":  # its softmax is sharper the more parents there are, so keep all of it
        merged = pcb(both, keep=1.0, scale=1.0), pcb(alone, keep=1.0, scale=1.0)
    else:
        merged = FORMULAS[name](both), FORMULAS[name](alone)
    assert torch.allclose(merged[0][:6], merged[1][:6], rtol=1e-12)
