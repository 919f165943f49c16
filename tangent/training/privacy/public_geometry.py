"""A space's geometry by public images: the coordinates in which all directions count alike.

With m and S the mean and covariance of the features of public images (without the constant),

    u(x) = A (psi(x) - m),        A = (S + floor I)^(-1/2)

Noise of one size on every coordinate of u is small where features vary little, which is where the
curvature's inverse would enlarge it.

u is computed in whole numbers: psi lies on a grid, and so do A and A m here. So the bits of an
image's u do not depend on the images beside it, by the order of some sum; if they did, one more
image could change the contributions of all others.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tangent.errors import BadPrivacy
from tangent.spaces.space import Space
from tangent.training.privacy.public_images import dead_leaves

FLOOR = 0.01  # in units of the mean variance of a feature
REACH = 3.0  # radius, in units of the public images' median length: other images lie further out
MAX_FEATURE = 2.0**20  # steps
EXACT = 2.0**52
AT_ONCE = 64  # images

known: WeakKeyDictionary[Space, "PublicGeometry"] = WeakKeyDictionary()


@dataclass(frozen=True)
class PublicGeometry:
    """The coordinates of a space; the same for every dataset, as no dataset is looked at."""

    steps: Tensor  # (D - 1,) of the features' grid
    mean: Tensor  # m (D - 1,)
    whitening: Tensor  # A (D - 1, D - 1)
    unwhitening: Tensor  # its inverse
    radius: float  # of u
    log2_scale: int
    multiples: Tensor  # A in whole numbers, of 2^-log2_scale per step of psi
    offset: Tensor  # A m in whole numbers of 2^-log2_scale

    def coordinates(self, psi: Tensor) -> Tensor:
        """u (n, D - 1) of features psi (n, D), as whole numbers of 2^-log2_scale, in float64.

        No sum is rounded, so an image's bits are its own.
        """
        steps = (psi[:, :-1].to(torch.float64).cpu() / self.steps).clamp(-MAX_FEATURE, MAX_FEATURE)
        return steps @ self.multiples.T - self.offset


def public_geometry(space: Space) -> PublicGeometry:
    """Return the geometry of a space at a linear scope; computed once.

    Raises:
        BadPrivacy: the scope is not linear in fixed features.
    """
    if space.grid is None:
        raise BadPrivacy(
            f"scope {space.scope} has no sums to add noise to: use scope head or head2toe"
        )
    if space not in known:
        batches = dead_leaves(space.image_size, AT_ONCE)
        features = [space.readout_alone(space.preprocess.normalize(images)) for images in batches]
        known[space] = geometry_of(torch.cat(features), space.grid.steps)
    return known[space]


def geometry_of(psi: Tensor, steps: Tensor) -> PublicGeometry:
    """Return the geometry by the features psi (n, D) of public images; `steps` are their grid's."""
    features = psi[:, :-1].to(torch.float64).cpu()
    mean = features.mean(0)
    centred = features - mean
    covariance = centred.T @ centred / len(features)
    variance = covariance.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    values, vectors = torch.linalg.eigh(covariance)
    lengths = (values.clamp_min(0) + FLOOR * variance).sqrt()
    whitening, unwhitening = (vectors / lengths) @ vectors.T, (vectors * lengths) @ vectors.T
    in_steps, median = whitening * steps[:-1], (centred @ whitening).norm(dim=1).median().item()
    largest = in_steps.abs().sum(1).max().item()
    log2_scale = int(torch.tensor(EXACT / MAX_FEATURE / 2 / largest).log2().floor())
    multiples = (in_steps * 2.0**log2_scale).round()
    # On the grid, so that what is subtracted from each image is what is added to the sums again.
    centre = (mean / steps[:-1]).round().clamp(-MAX_FEATURE, MAX_FEATURE)
    return PublicGeometry(
        steps=steps[:-1],
        mean=centre * steps[:-1],
        whitening=whitening,
        unwhitening=unwhitening,
        radius=REACH * median,
        log2_scale=log2_scale,
        multiples=multiples,
        offset=multiples @ centre,
    )
