"""Refining: the joint optimum at block scopes, against a dense solution by explicit Jacobians."""

import dataclasses

import pytest
import torch

from tangent.composition.refine import refine
from tangent.errors import BadWeight, FingerprintMismatch
from tests.support.models import fitted, plain_features, relative, source, space, untouched

SIZE = 16
OWN = (["cat", "dog", "cat"], ["dog", "eel", "eel", "dog"], ["ant", "ant"])
BETAS, PENALTIES = (15.0, 10.0, 15.0), (1e-2, 3e-2, 1e-2)


def parties(where, scratch):
    """Components that were hardly trained (only their settings count), with their images."""
    found = []
    for seed, (labels, beta, l2) in enumerate(zip(OWN, BETAS, PENALTIES, strict=True)):
        data = source(SIZE, labels, seed)
        part = fitted(where, data, scratch, beta=beta, l2=l2, max_iterations=1).component
        found.append((part, data))
    return found


def dense(where, data, weights):
    """The minimiser of the pooled objective by one solution of the normal equations."""
    labels = sorted({name for _, source in data for name in source.labels} | set(where.declared))
    model, base = untouched("mini"), where.base_rows(labels)
    names = list(where.suffix.base)
    blocks, rights, scales, ridge = [], [], [], 0.0
    for (part, own), weight in zip(data, weights, strict=True):
        count = len(own.labels)
        jacobians = torch.autograd.functional.jacobian(
            lambda *values, x=own.pixels: plain_features(
                model, dict(zip(names, values, strict=True)), x
            ),
            tuple(where.suffix.base[name] for name in names),
        )
        along = torch.cat([each.reshape(count, where.width, -1) for each in jacobians], 2)
        psi = torch.cat([model(own.pixels), torch.ones(count, 1).double()], 1)
        through = torch.einsum("kw,nwp->nkp", base[:, :-1], along)
        heads = torch.einsum("kl,nd->nkld", torch.eye(len(labels)).double(), psi)
        blocks.append(torch.cat([heads.flatten(2), through], 2).flatten(0, 1))
        wanted = torch.zeros(count, len(labels), dtype=torch.float64)
        for row, name in enumerate(own.labels):
            wanted[row, labels.index(name)] = part.hyperparameters["beta"]
        rights.append((wanted - psi @ base.T).flatten())
        scales.append(torch.full((count * len(labels),), float(weight), dtype=torch.float64))
        ridge += 0.5 * len(labels) * weight * count * part.hyperparameters["l2"]
    design, right, scale = torch.cat(blocks), torch.cat(rights), torch.cat(scales)
    normal = design.T @ (scale[:, None] * design) + ridge * torch.eye(design.shape[1]).double()
    solution = torch.linalg.solve(normal, design.T @ (scale * right))
    split = len(labels) * where.readout_width
    return labels, solution[:split].view(len(labels), -1), solution[split:]


def flat(where, directions):
    return torch.cat([directions[name].flatten() for name in where.suffix.base])


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [1.0, 0.0, 3.0]])
@pytest.mark.parametrize("declared", [(), ("owl",)])
def test_many_passes_reach_the_dense_solution_of_the_pooled_problem(declared, weights, tmp_path):
    where = space("mini", "last-block", declared)
    data = parties(where, tmp_path)
    parts = [(part, w, own) for (part, own), w in zip(data, weights, strict=True)]
    found = refine(where, parts, passes=400, tolerance=1e-13, scratch=tmp_path)
    chosen = [each for each, w in zip(data, weights, strict=True) if w]
    labels, head, block = dense(where, chosen, [w for w in weights if w])
    assert list(found.labels) == labels
    assert relative(found.head, head) <= 1e-7
    assert relative(flat(where, found.backbone), block) <= 1e-7


def test_the_head_is_the_best_one_after_any_number_of_passes(tmp_path):
    """After a single pass, the head is optimal for the backbone of that pass."""
    where = space("mini", "last-block")
    data = parties(where, tmp_path)
    parts = [(part, None, own) for part, own in data]
    found = refine(where, parts, passes=1, scratch=tmp_path)
    assert found.metrics["passes"] == 1
    base, gradient, ridge = where.base_rows(found.labels), 0.0, 0.0
    for part, own in data:
        engine = where.engine
        phi, (along,) = engine.push(engine.rows(own.pixels), [engine.prepare(found.backbone)])
        psi = torch.cat([phi, torch.ones(len(phi), 1).double()], 1)
        wanted = torch.zeros(len(psi), len(found.labels), dtype=torch.float64)
        for row, name in enumerate(own.labels):
            wanted[row, found.labels.index(name)] = part.hyperparameters["beta"]
        off = psi @ (base + found.head).T + along @ base[:, :-1].T - wanted
        gradient = gradient + off.T @ psi
        ridge += 0.5 * len(found.labels) * part.hyperparameters["l2"] * len(psi)
    assert (gradient + ridge * found.head).abs().max() <= 1e-9 * wanted.abs().max()


def test_few_passes_come_close_where_the_same_many_steps_of_training_do_not(tmp_path):
    where = space("mini", "last-block")
    data = parties(where, tmp_path)
    parts = [(part, None, own) for part, own in data]
    reference = refine(where, parts, passes=400, tolerance=1e-13, scratch=tmp_path)
    left = []
    for passes in (1, 4, 16):
        found = refine(where, parts, passes=passes, scratch=tmp_path)
        left.append(relative(flat(where, found.backbone), flat(where, reference.backbone)))
    assert left[0] > left[1] > left[2]


def test_the_same_parts_give_the_same_bits(tmp_path):
    where = space("mini", "last-block")
    parts = [(part, None, own) for part, own in parties(where, tmp_path)]
    one, two = (refine(where, parts, passes=3, scratch=tmp_path) for _ in range(2))
    assert torch.equal(one.head, two.head)
    assert all(torch.equal(one.backbone[name], two.backbone[name]) for name in one.backbone)


def test_a_weight_counts_images_that_often(tmp_path):
    where = space("mini", "last-block")
    (one, own), *rest = parties(where, tmp_path)
    others = [(part, None, data) for part, data in rest]
    heavy = refine(where, [(one, 3.0, own), *others], passes=90, tolerance=1e-12, scratch=tmp_path)
    thrice = [(one, None, own)] * 3
    again = refine(where, [*thrice, *others], passes=90, tolerance=1e-12, scratch=tmp_path)
    assert relative(heavy.head, again.head) <= 1e-6
    assert again.counts["cat"] == 3 * heavy.counts["cat"]


def test_views_count_as_one_image(tmp_path):
    where = space("mini", "last-block")
    data = source(SIZE, OWN[0])
    part = fitted(where, data, tmp_path, max_iterations=1, views=2).component
    found = refine(where, [(part, None, data)], passes=2, scratch=tmp_path)
    assert found.counts == {"cat": 2, "dog": 1}
    assert found.metrics["images"] == 3


def test_progress_tells_of_features_and_passes(tmp_path):
    where, seen = space("mini", "last-block"), []
    parts = [(part, None, own) for part, own in parties(where, tmp_path)]
    refine(where, parts, passes=2, scratch=tmp_path, progress=seen.append)
    assert [(p.step, p.total) for p in seen if p.phase == "features"] == [(3, 9), (7, 9), (9, 9)]
    assert [(p.step, p.total) for p in seen if p.phase == "solve"] == [(1, 2), (2, 2)]


@pytest.mark.parametrize("weights", [[-1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [float("nan"), 1.0, 1.0]])
def test_weights_that_make_no_pool_are_refused(weights, tmp_path):
    where = space("mini", "last-block")
    data = parties(where, tmp_path)
    parts = [(part, w, own) for (part, own), w in zip(data, weights, strict=True)]
    with pytest.raises(BadWeight, match="weights of at least 0, and one above"):
        refine(where, parts, scratch=tmp_path)


def test_a_part_of_another_space_is_refused(tmp_path):
    where = space("mini", "last-block")
    ((part, data), *_) = parties(where, tmp_path)
    stranger = dataclasses.replace(part, fingerprint="0" * 64)
    with pytest.raises(FingerprintMismatch, match="trained in the space 000000000000"):
        refine(where, [(stranger, None, data)], scratch=tmp_path)
