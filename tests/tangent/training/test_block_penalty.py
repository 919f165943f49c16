"""The penalty at block scopes: chosen by the head's features, pooled as at the other scopes."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

import tangent
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import measure
from tangent.composition.attribution import attribute
from tangent.composition.refine import refine
from tangent.training.cholesky import settled
from tests.support.models import delta_bytes, fitted, images, source, space

SCOPE = "last-block"
LABELS = ["cat", "dog", "cat", "emu", "dog", "cat", "dog", "emu", "cat", "dog", "emu", "emu"]


@pytest.fixture(scope="module")
def where() -> tangent.Space:
    return space("mini", SCOPE)


def chosen_by_the_head(where: tangent.Space, data) -> float:
    """The choice from the features that the head reads at the base point, on their own."""
    with torch.no_grad():
        phi = where.model(data.pixels)
    psi = torch.cat([phi, phi.new_ones(len(phi), 1)], 1)
    sums = measure(psi, data.labels)
    settings = Hyperparameters.resolve(SCOPE, {})
    return settled(sums, sums.labels, where.base_rows(sums.labels), settings).l2


def trained(where: tangent.Space, data, seed: int = 0) -> tangent.Component:
    with TemporaryDirectory() as folder:
        return fitted(where, data, Path(folder), seed).component


def test_a_training_takes_what_the_heads_features_choose(where):
    data = source(16, LABELS, 3)
    component = trained(where, data)

    expected = chosen_by_the_head(where, data)
    assert component.hyperparameters["l2"] == expected
    assert component.hyperparameters["choose_l2"] is True
    with TemporaryDirectory() as folder:
        given = fitted(where, data, Path(folder), 0, l2=expected).component
    for name, direction in component.backbone.items():
        assert torch.equal(direction, given.backbone[name])
    assert torch.equal(component.head, given.head)


def test_composing_chooses_for_all_images_and_goes_with_a_component(where):
    parts = [trained(where, source(16, LABELS, seed), seed) for seed in range(3)]
    shas = ["a", "b", "c"]

    def composed(*at: int) -> tangent.Delta:
        some = [(parts[i], None) for i in at]
        return tangent.compose(where, some, "joint", shas=[shas[i] for i in at])

    alone = tangent.composition.compose.pooled(where, [(part, 1.0) for part in parts])
    l2 = alone.l2(where.base_rows(alone_labels(parts)))
    fixed = [
        (replace(p, hyperparameters=p.hyperparameters | {"choose_l2": False, "l2": l2}), None)
        for p in parts
    ]
    assert torch.allclose(
        composed(0, 1, 2).head, tangent.compose(where, fixed, "joint", shas=shas).head, atol=1e-9
    )
    never = tangent.compose(where, [(parts[2], None), (parts[0], None)], "joint", shas=["c", "a"])
    assert delta_bytes(composed(0, 2)) == delta_bytes(never)


def alone_labels(parts) -> list[str]:
    return sorted({name for part in parts for name in part.labels})


def test_shares_and_rests_are_those_of_the_chosen_penalty(where):
    parts = [trained(where, source(16, LABELS, seed), seed) for seed in range(3)]
    given, x = [(part, None) for part in parts], images(16, 4)

    found = attribute(where, x, given, "joint", shas=["a", "b", "c"])

    whole = where.logits(x, tangent.compose(where, given, "joint", shas=["a", "b", "c"]))
    total = found.base.logits + sum(found.shares)
    assert torch.allclose(total.float(), whole, atol=1e-4)
    rest = tangent.compose(where, given[1:], "joint", shas=["b", "c"])
    assert torch.allclose(found.rests[0].logits.float(), where.logits(x, rest), atol=1e-4)


def test_a_refinement_takes_the_pooled_choice(where, tmp_path):
    sources = [source(16, LABELS, seed) for seed in range(2)]
    parts = [trained(where, data, seed) for seed, data in enumerate(sources)]
    problem = tangent.composition.compose.pooled(where, [(part, 1.0) for part in parts])
    l2 = problem.l2(where.base_rows(alone_labels(parts)))

    def refined(settings: dict) -> torch.Tensor:
        some = [
            (replace(part, hyperparameters=part.hyperparameters | settings), None, data)
            for part, data in zip(parts, sources, strict=True)
        ]
        with TemporaryDirectory() as folder:
            return refine(where, some, passes=3, scratch=Path(folder)).head

    assert torch.equal(refined({}), refined({"choose_l2": False, "l2": l2}))
