"""Dense solutions of trainings at a block, in float64 on the CPU, from the explicit Jacobian."""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.func import jacrev

import tangent
from tangent.backbones.label_head import head_rows
from tangent.training import iterative
from tests.support.models import CASES, Source, backbone, plain_features, problem, source

NAMES = ("cat", "dog", "eel")
BETA, COUNT = 5.0, 12
CPU = torch.device("cpu")


@cache
def space(dtype: torch.dtype, device: torch.device = CPU, name: str = "mini") -> tangent.Space:
    """The same weights in either type, under the same base head."""
    made = backbone(name, torch.float32)
    where = tangent.Space(made, "last-block", device=str(device))
    if dtype is torch.float64:
        held = where._backbone_fingerprint
        made = backbone(name, torch.float32)
        made.model.double()
        where = tangent.Space(made, "last-block", device=str(device))
        where._backbone_fingerprint = held
    return where


@cache
def data(seed: int, name: str = "mini") -> Source:
    made = source(CASES[name].size, [NAMES[i % 3] for i in range(COUNT)], seed)
    return Source(made.pixels.float().double(), made.labels)  # the same numbers in either type


def linearised(
    where: tangent.Space, model: torch.nn.Module, images: Source, names: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """The Jacobian over head and block, the base's logits, and which labels are true."""
    base = {key: dict(model.named_parameters())[key] for key in sorted(where.suffix.base)}
    rows = head_rows(where._backbone_fingerprint, names, where.width)

    def classifier(head, parameters):
        phi = plain_features(model, parameters, images.pixels)
        return torch.cat([phi, torch.ones(len(phi), 1).double()], 1) @ head.T

    by_head, by_parameter = jacrev(classifier, argnums=(0, 1))(rows, base)
    jacobian = torch.cat([by_head.flatten(2)] + [by_parameter[key].flatten(2) for key in base], 2)
    true = torch.tensor([[name == label for name in names] for label in images.labels])
    return jacobian.flatten(0, 1), classifier(rows, base).flatten(), true.flatten().double()


@cache
def linear(seed: int, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """`linearised` of the images of a seed."""
    model = backbone(name, torch.float32).model.double()
    return linearised(space(torch.float64, name=name), model, data(seed, name), NAMES)


class Exact:
    """The dense solution, and the lengths of a direction in both norms."""

    def __init__(self, seed: int, alpha: float, l2: float, name: str = "mini") -> None:
        self.jacobian, logits, true = linear(seed, name)
        self.weight, self.ridge = 1 + (alpha - 1) * true, 0.5 * l2 * COUNT * len(NAMES)
        kernel = self.jacobian @ self.jacobian.T + self.ridge * torch.diag(1 / self.weight)
        self.delta = self.jacobian.T @ torch.linalg.solve(kernel, BETA * true - logits)

    def length(self, delta: Tensor, norm: str) -> float:
        if norm == "delta":
            return delta.norm().item()
        moved = self.weight * (self.jacobian @ delta).square()
        return math.sqrt(moved.sum().item() + self.ridge * delta.square().sum().item())

    def apart(self, one: Tensor, other: Tensor, norm: str) -> float:
        """The length of the difference, relative to the dense solution's."""
        return self.length(one - other, norm) / self.length(self.delta, norm)

    def error(self, found: Tensor, norm: str) -> float:
        return self.apart(found, self.delta, norm)


def solved(
    dtype: torch.dtype, seed: int, device: torch.device = CPU, name: str = "mini", **how
) -> tuple[Tensor, dict]:
    """A solution as one vector on the CPU, and its metrics."""
    where = space(dtype, device, name)
    training = problem(where, data(seed, name), beta=BETA, solver="cg", **how)
    found = iterative.conjugate_gradients(training, lambda *_: None)
    parts = [found.delta["head"].flatten()]
    parts += [found.delta[k].flatten() for k in sorted(found.delta) if k != "head"]
    return torch.cat(parts).double().cpu(), found.stats
