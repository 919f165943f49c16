"""Contributions: none longer than its bound, and none that depends on the images beside it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.components.privacy import MECHANISMS, Privacy
from tangent.training.privacy import public_images
from tangent.training.privacy.contributions import (
    LOG2_SIGMA,
    LOG2_SIGMA_PRODUCTS,
    Bounds,
    cut_coordinates,
    factors_of_products,
)
from tangent.training.privacy.public_geometry import public_geometry
from tangent.training.privacy.public_images import COUNT, dead_leaves
from tests.support.models import space

mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS)


def terms(mechanism: str = "class_sums", epsilon: float = 1.0) -> Privacy:
    given = {"epsilon": epsilon, "delta": 1e-5, "mechanism": mechanism}
    return Privacy.resolve(given, ["cat", "dog"])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0.0, 1e-9, 0.1, 1.0, 30.0, 1e6, 1e30]),
    epsilon=st.sampled_from([0.05, 1.0, 20.0]),
    mechanism=st.sampled_from(MECHANISMS),
)
def test_no_features_make_a_contribution_longer_than_the_noise_was_made_for(
    seed, size, epsilon, mechanism
):
    where = space("mini", "head2toe")
    asked = terms(mechanism, epsilon)
    bounds, generator = Bounds.of(asked), torch.Generator().manual_seed(seed)
    psi = size * torch.randn(5, where.readout_width, generator=generator, dtype=torch.float64)
    cut = cut_coordinates(where.grid.round(psi), public_geometry(where), bounds)
    mu2 = (bounds.count**2 + cut.square().sum(1).double()) / 4.0**LOG2_SIGMA
    if mechanism == "adassp":
        factors = factors_of_products(cut, bounds)
        products = torch.einsum("ni,nj->nij", factors, factors).triu()
        mu2 += products.square().sum((1, 2)) / 4.0**LOG2_SIGMA_PRODUCTS
    assert mu2.max().item() <= asked.mu**2


@mechanisms
def test_the_bounds_use_what_the_terms_allow(mechanism):
    for epsilon in (0.05, 1.0, 20.0):
        asked = terms(mechanism, epsilon)
        assert asked.mu * (1 - 1e-3) < Bounds.of(asked).mu <= asked.mu


def test_an_image_s_contribution_has_the_same_bits_whatever_comes_beside_it():
    where, bounds = space("mini", "head2toe"), Bounds.of(terms())
    geometry = public_geometry(where)
    generator = torch.Generator().manual_seed(0)
    psi = torch.randn(37, where.readout_width, generator=generator, dtype=torch.float64)
    psi = where.grid.round(psi)
    together = cut_coordinates(psi, geometry, bounds)
    for i in range(37):
        assert torch.equal(cut_coordinates(psi[i : i + 1], geometry, bounds)[0], together[i])


def test_coordinates_are_those_of_whitening_by_public_images():
    where = space("mini", "head2toe")
    geometry = public_geometry(where)
    generator = torch.Generator().manual_seed(0)
    psi = where.grid.round(torch.randn(9, where.readout_width, generator=generator).double())
    plain = (psi[:, :-1] - geometry.mean) @ geometry.whitening
    found = geometry.coordinates(psi) * 2.0**-geometry.log2_scale
    assert (found - plain).abs().max() < 1e-2  # of a unit variance: m is on the grid here
    both = geometry.whitening @ geometry.unwhitening
    assert (both - torch.eye(len(both), dtype=torch.float64)).abs().max() < 1e-8


def test_public_images_are_always_the_same_and_differ():
    batches = [torch.cat(list(dead_leaves(16, size))) for size in (64, 100)]
    assert torch.equal(*batches)
    assert batches[0].shape == (COUNT, 16, 16, 3)
    assert len({image.numpy().tobytes() for image in batches[0]}) > 0.99 * COUNT


def test_a_leaf_is_the_same_drawn_place_by_place():
    found, again = np.random.default_rng(5), np.random.default_rng(5)
    shapes = set()
    for _ in range(20):
        leaf = public_images._leaf(found)
        radius = again.uniform(0.35**-2, 0.02**-2) ** -0.5
        (x, y), angle = again.random(2), np.pi * again.random()
        aspect, shape = again.uniform(0.2, 1.0), int(again.integers(3))
        for place in np.ndindex(leaf.shape):
            row, column = (each / 64 for each in place)
            along = (column - x) * np.cos(angle) + (row - y) * np.sin(angle)
            across = ((row - y) * np.cos(angle) - (column - x) * np.sin(angle)) / aspect
            inside = (
                along**2 + across**2 < radius**2,
                max(abs(along), abs(across)) < radius,
                -radius / 2 < along < radius and abs(across) < (radius - along) / 2,
            )
            assert leaf[place] == inside[shape]
        shapes.add(shape)
    assert shapes == {0, 1, 2}


def test_a_long_contribution_keeps_its_direction():
    where, bounds = space("mini", "head2toe"), Bounds.of(terms())
    geometry = public_geometry(where)
    psi = torch.randn(3, where.readout_width, generator=torch.Generator().manual_seed(1)).double()
    psi = where.grid.round(30 * psi)
    cut = cut_coordinates(psi, geometry, bounds).double()
    cosine = torch.nn.functional.cosine_similarity(cut, geometry.coordinates(psi))
    assert cosine.min() > 0.9999
    assert math.isclose(cut.norm(dim=1).max().item(), bounds.coordinates, rel_tol=1e-3)
