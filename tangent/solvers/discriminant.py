"""The linear discriminant with equally likely labels, from the sums that rule `joint` takes.

Images of label l are taken as normal around the label's mean m_l with one covariance for all
labels, estimated by the scatter W of images around the means of their labels:

    W = G - sum_l s_l s_lᵀ / n_l        R = (W + c I)⁻¹        m_l = s_l / n_l
    h_l(x) = n (1 - g)² [m_lᵀ R psi(x) - ½ m_lᵀ R m_l + ½ g / ((1 - g) n_l)]
    g = tr(W R) / n

The means are themselves estimates. A mean of n_l images is off by noise that adds tr(R S) / n_l to
m_lᵀ R m_l, S the true covariance, and so speaks against labels of few images. The last term takes
this back: g / (1 - g) is tr(R S) in the limit of many features and images. By the same limit the
scale n (1 - g)² widens the covariance by what its own estimate is off, so that h is about the log
probability of the labels (Friedman 1989 on W + c I; Moran & Murphy 1979 on the last term).
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tangent.solvers.ridge import factor, substituted

CAUTION = 1.1  # on the degrees of freedom by which c is chosen: R suffers more than a regression


@dataclass(frozen=True)
class LabelSums:
    """The sums over the images of each label, weighted; the last feature is the constant 1."""

    gram: Tensor  # G (D, D) float64
    sums: Tensor  # s (K, D), of labels that have images
    counts: Tensor  # n_l (K,): sum of lambda over a label's images
    spreads: Tensor  # sum of lambda² over a label's images, (K,)

    @property
    def images(self) -> float:
        """n: the sum of all images' weights."""
        return self.counts.sum().item()

    @property
    def observed(self) -> float:
        """The number of images that the weighted ones are worth (Kish 1965)."""
        return self.images**2 / self.spreads.sum().item()


@dataclass(frozen=True)
class Discriminant:
    """The numbers that h is made of."""

    lower: Tensor  # the factor of W + c I, (D - 1, D - 1)
    means: Tensor  # m_l (K, D - 1)
    moved: Tensor  # R m_l (K, D - 1)
    scale: float
    unit_noise: float  # tr(R S): times spread_l / n_l², the noise of the mean of label l

    @classmethod
    def of(cls, sums: LabelSums, ridge: float) -> Self:
        """Return it for the ridge c.

        Of weighted images, n / n_l is by the numbers of images that they are worth; scaling all
        weights and c together changes nothing.

        Raises:
            NonFinite: as `ridge.factor`.
        """
        means = sums.sums[:, :-1] / sums.counts[:, None]
        scatter = sums.gram[:-1, :-1] - means.T @ sums.sums[:, :-1]
        lower = factor(scatter, ridge)
        inverse: Tensor = torch.cholesky_inverse(lower)
        freedom = len(scatter) - ridge * inverse.trace().item()
        # Below 1 / CAUTION by the choice of c, except where no choice was cautious enough.
        share = min(max(freedom / sums.observed, 0.0), 1 / CAUTION)
        return cls(
            lower=lower,
            means=means,
            moved=substituted(lower, means.T).T,
            scale=sums.images * (1 - share) ** 2,
            unit_noise=share / (1 - share) * (sums.observed / sums.images),
        )

    def rows(self, sums: LabelSums) -> Tensor:
        """Return the head (K, D) of h, the constant term in the last column."""
        noise = self.unit_noise * sums.spreads / sums.counts**2
        constant = 0.5 * (noise - (self.moved * self.means).sum(1))
        return self.scale * torch.cat([self.moved, constant[:, None]], dim=1)


def head_rows(sums: LabelSums, ridge: float) -> Tensor:
    """Return the head (K, D) of h for the ridge c.

    Raises:
        NonFinite: as `ridge.factor`.
    """
    return Discriminant.of(sums, ridge).rows(sums)
