"""The problem that training and `joint` solve at scopes linear in psi: sums over images.

    (G + c I) delta_l = targets_l - G a_l

    G = sum of lambda_t G_t        targets_l = sum of lambda_t beta_t s_tl        K labels
    c = K/2 sum of lambda_t mu_t n_t, or K/2 mu sum of lambda_t n_t with mu chosen from the sums

The sum of the problems of disjoint sets of images is the problem of their union.
"""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from tangent.components.hyperparameters import L2_CHOICES
from tangent.solvers import ridge
from tangent.solvers.cross_validation import LeftOutError, lowest
from tangent.solvers.spectrum import Spectrum


@dataclass(frozen=True)
class NormalEquations:
    """The sums; one row of targets for every label of `base`, or for the first of its labels."""

    gram: Tensor  # (D, D) float64
    targets: Tensor  # (K, D) float64
    images: float  # sum of lambda_t n_t
    spread: float  # sum of lambda_t² n_t
    energy: float  # sum of lambda_t beta_t² n_t
    penalty: float  # sum of lambda_t mu_t n_t
    chosen: bool  # mu is chosen from the sums
    rows: float  # number of rows that the sums are over, every view of an image one

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(
            self.gram + other.gram,
            self.targets + other.targets,
            self.images + other.images,
            self.spread + other.spread,
            self.energy + other.energy,
            self.penalty + other.penalty,
            self.chosen and other.chosen,
            self.rows + other.rows,
        )

    def solve(self, base: Tensor) -> Tensor:
        """Return delta (K, D) of the labels that have targets.

        base: the rows a (K, D) of all labels; labels without images come last.

        Raises:
            NonFinite: as `ridge.factor`.
        """
        return ridge.solve(self.gram, self.targets, base[: len(self.targets)], self.ridge(base))

    def ridge(self, base: Tensor) -> float:
        """c; base as in `solve`."""
        penalty = self.l2(base) * self.images if self.chosen else self.penalty
        return 0.5 * penalty * len(base)

    def settled(self, base: Tensor) -> "NormalEquations":
        """Return the problem with the penalty that it chooses, as a number; base as in `solve`.

        With other targets it keeps this penalty.
        """
        if not self.chosen:
            return self
        return replace(self, penalty=self.l2(base) * self.images, chosen=False)

    def l2(
        self, base: Tensor, caution: float = 1.0, tried: dict[float, float] | None = None
    ) -> float:
        """mu of `l2: "auto"`, of L2_CHOICES; base as in `solve`, caution as in `LeftOutError`.

        tried: gets each choice that was looked at, with the squared error of images left out under
        it, as a part of the squared error of the base alone.

        N is the effective number of weighted images, (sum lambda n)² / sum lambda² n (Kish 1965);
        scaling all weights changes nothing.

        Raises:
            NonFinite: the sums contain NaN or Inf.
        """
        moved = base @ self.gram
        residuals = -moved
        residuals[: len(self.targets)] += self.targets
        ours = base[: len(self.targets)]
        squares = self.energy - 2 * (ours * self.targets).sum().item() + (base * moved).sum().item()
        observed = self.images**2 / self.spread
        unit = 0.5 * self.images * len(base)
        spectrum = Spectrum.of(self.gram, self.rows)
        left_out = LeftOutError(spectrum, residuals, squares, observed, unit, caution)
        errors = left_out.logs(L2_CHOICES)
        if tried is not None and squares > 0:
            judged = {l2: error for l2, error in errors.items() if error < math.inf}
            tried |= {l2: math.exp(error) / squares for l2, error in judged.items()}
        return lowest(errors)
