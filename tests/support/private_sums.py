"""Features, terms and neighbouring datasets for what adds noise to class sums."""

import torch

from tangent.components.privacy import Privacy
from tangent.training.privacy.contributions import Bounds
from tangent.training.privacy.public_geometry import public_geometry
from tangent.training.privacy.release import Release, summed
from tests.support.models import space

LABELS = ["cat", "dog", "cat", "eel", "dog", "cat"]


def terms(labels=("cat", "dog", "eel"), **given) -> Privacy:
    return Privacy.resolve({"epsilon": 1.0, "delta": 1e-5} | given, labels)


def features(labels, size=30.0, seed=0, scope="head2toe"):
    where, generator = space("mini", scope), torch.Generator().manual_seed(seed)
    psi = size * torch.randn(len(labels), where.readout_width, generator=generator).double()
    psi[:, -1] = 1
    return where.grid.round(psi)


def neighbours(asked: Privacy, scope: str = "head2toe") -> tuple[Release, Release]:
    """Exact sums without and with one image whose contribution is as long as they come."""
    where, bounds = space("mini", scope), Bounds.of(asked)
    psi, geometry = features(LABELS, scope=scope), public_geometry(where)
    without = summed(psi[:-1], LABELS[:-1], asked, geometry, bounds)
    return without, summed(psi, LABELS, asked, geometry, bounds)
