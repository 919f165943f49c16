"""The release: sums with noise, and statistics within the bounds of any other component's."""

import math

import pytest
import torch

from tangent.components.privacy import MECHANISMS
from tangent.errors import BadPrivacy
from tangent.training.privacy import release as releases
from tangent.training.privacy.contributions import LOG2_SIGMA, LOG2_SIGMA_PRODUCTS, Bounds
from tangent.training.privacy.public_geometry import public_geometry
from tangent.training.privacy.release import private_statistics, statistics_of, summed
from tests.support.models import space
from tests.support.private_sums import LABELS, features, neighbours, terms

mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS)


@mechanisms
def test_the_noise_has_the_sigma_of_its_grid_on_every_entry(mechanism):
    without, _ = neighbours(terms(mechanism=mechanism))
    drawn = [without.with_noise() for _ in range(200)]
    sums = torch.stack([each.sums - without.sums for each in drawn]).double()
    assert sums.std().item() == pytest.approx(2.0**LOG2_SIGMA, rel=0.03)
    assert (sums.std(0) / 2.0**LOG2_SIGMA - 1).abs().max() < 0.35
    if mechanism == "adassp":
        products = torch.stack([each.products - without.products for each in drawn]).double()
        rows, columns = torch.triu_indices(*products.shape[1:]).unbind()
        assert products[:, rows, columns].std().item() == pytest.approx(
            2.0**LOG2_SIGMA_PRODUCTS, rel=0.03
        )
        assert not products.tril(-1).any()


def test_an_image_changes_the_row_of_its_label_alone():
    without, added = neighbours(terms())
    changed = (added.sums != without.sums).any(1).tolist()
    assert changed == [True, False, False]  # cat, dog, eel
    assert (added.sums - without.sums)[0, -1] == Bounds.of(terms()).count


def test_images_of_labels_that_were_not_declared_change_nothing():
    asked, where = terms(labels=("cat", "owl")), space("mini", "head2toe")
    psi, geometry, bounds = features(LABELS), public_geometry(where), Bounds.of(asked)
    release = summed(psi, LABELS, asked, geometry, bounds)
    cats = [i for i, name in enumerate(LABELS) if name == "cat"]
    alone = summed(psi[cats], ["cat"] * len(cats), asked, geometry, bounds)
    assert torch.equal(release.sums, alone.sums)
    assert not release.sums[1].any()  # owl: no image, and a row all the same
    statistics = private_statistics(where, psi, LABELS, asked)
    assert statistics.labels == ("cat", "owl")
    assert min(statistics.counts.values()) >= 1


@mechanisms
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 20.0])
def test_statistics_lie_on_the_grid_within_the_bounds_of_sums(mechanism, epsilon):
    where = space("mini", "head2toe")
    found = private_statistics(
        where, features(LABELS, 1.0), LABELS, terms(mechanism=mechanism, epsilon=epsilon)
    )
    counts = torch.tensor(list(found.counts.values()), dtype=torch.float64)
    assert where.grid.holds(found.gram, found.sums, counts)
    assert torch.linalg.eigvalsh(found.gram).min() > -1e-9 * found.gram.abs().max()


@mechanisms
def test_without_noise_and_within_the_radius_the_sums_are_those_of_the_images(mechanism):
    where = space("mini", "head2toe")
    asked, labels = terms(epsilon=20.0, mechanism=mechanism), ["cat", "dog", "eel"] * 40
    geometry, bounds = public_geometry(where), Bounds.of(asked)
    spread = torch.randn(
        len(labels), len(geometry.mean), generator=torch.Generator().manual_seed(0)
    )
    psi = geometry.mean + 0.1 * spread.double() @ geometry.unwhitening
    psi = where.grid.round(torch.cat([psi, torch.ones(len(labels), 1, dtype=torch.float64)], 1))
    exact = summed(psi, labels, asked, geometry, bounds)
    found = statistics_of(exact, asked, geometry, bounds, where)
    for name, row in zip(found.labels, found.sums, strict=True):
        mine = [i for i, label in enumerate(labels) if label == name]
        assert found.counts[name] == len(mine)
        assert (row - psi[mine].sum(0)).abs().max() < 1e-3 * len(mine)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0; it must be a number from 0.05 to 20"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"epsilon": True}, "epsilon is True"),
        ({"delta": 0.5}, "delta is 0.5"),
        ({"mechanism": "laplace"}, "mechanism is 'laplace'; choose one of class_sums, adassp"),
        ({"unit": "label"}, "unit is 'label'"),
        ({"neighbours": "replace"}, "neighbours is 'replace'"),
        ({"seed": 1}, "privacy has no 'seed'"),
    ],
)
def test_terms_that_cannot_be_kept_are_refused(given, sentence):
    with pytest.raises(BadPrivacy, match=sentence):
        terms(**given)


def test_noise_beyond_exact_sums_is_told(monkeypatch):
    where = space("mini", "head2toe")
    monkeypatch.setattr(releases, "EXACT", 2.0**12)
    with pytest.raises(BadPrivacy, match="raise epsilon"):
        private_statistics(where, features(LABELS), LABELS, terms())
