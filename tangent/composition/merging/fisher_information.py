"""Measurements on a parent's own images: the Gram matrices of inputs, and the Fisher matrix.

The Fisher matrix is JᵀJ of the parent's logits for the square loss, and JᵀCJ with C = diag p - ppᵀ
for cross-entropy, p the parent's own answer; every image counts once, whatever alpha was. Sums over
the images used are scaled to all of them. At scopes that are linear in psi the parent's statistics
are enough, but for cross-entropy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.components.component import Component
from tangent.composition.merging.kronecker import Kronecker
from tangent.composition.merging.merge_method import MergeInputs
from tangent.composition.merging.task_vectors import HEAD
from tangent.errors import BadDerivation
from tangent.spaces.heads import read
from tangent.spaces.space import Space
from tangent.training.activation_cache import BATCH
from tangent.training.augmentation import Source
from tangent.training.kronecker_curvature import added, curvature

MAX_PULLS = 16  # of one image; where it has more labels, that many random sums of them
MAX_FACTOR_SIZE = 4096  # inputs of a layer that still gets a Gram matrix


@dataclass(frozen=True)
class Batch:
    """Some of a parent's images: their rows, psi, and roots L (B, K, K) of C = LLᵀ."""

    rows: Tensor
    psi: Tensor  # (B, D) float64
    roots: Tensor  # float64


class ParentData:
    """A parent with its images, or with its statistics alone."""

    def __init__(
        self, space: Space, component: Component, source: Source | None, images: int, seed: int = 0
    ) -> None:
        """`images`: the most images to use, spread evenly over all."""
        self.space, self.component, self.source = space, component, source
        self.images, self.seed = images, seed
        self.base = space.base_rows(component.head_labels).to(space.device)

    def grams(self) -> dict[str, Tensor]:
        """XᵀX of the inputs of the head and of every linear layer or convolution in scope."""
        if self.space.engine is None and self.component.statistics is not None:
            return {HEAD: self.component.statistics.gram}
        total: dict[str, Tensor] = {}
        for batch in self._batches():
            found = {HEAD: batch.psi.T @ batch.psi}
            if (engine := self.space.engine) is not None:
                found |= _input_grams(self.space, engine.activation(batch.rows))
            total = {name: total.get(name, 0.0) + gram.cpu() for name, gram in found.items()}
        return {name: self._share() * gram for name, gram in total.items()}

    def diagonal(self) -> dict[str, Tensor]:
        """The Fisher matrix's diagonal; exact on the images used for up to MAX_PULLS labels."""
        if self._known():
            assert self.component.statistics is not None
            row = self.component.statistics.gram.diagonal()
            return {HEAD: row.expand(len(self.base), -1)}
        generator = torch.Generator().manual_seed(self.seed)
        shapes = {HEAD: self.component.head} | self.component.backbone
        total = {name: torch.zeros(v.shape, dtype=torch.float64) for name, v in shapes.items()}
        for batch in self._batches():
            own = (batch.roots**2).sum(2)  # the diagonal of C
            total[HEAD] += (own.T @ batch.psi**2).cpu()
            for name, squares in self._pulled(batch, generator):
                total[name] += squares
        return {name: self._share() * value for name, value in total.items()}

    def kronecker(self) -> dict[str, Kronecker]:
        """The Fisher matrix's factors; the head's by (label, feature)."""
        if self._known():
            assert self.component.statistics is not None
            unit = torch.eye(len(self.base), dtype=torch.float64)
            return {HEAD: Kronecker((unit, self.component.statistics.gram), 1.0)}
        generator = torch.Generator().manual_seed(self.seed)
        rows, width = self.base.shape
        labels = torch.zeros(rows, rows, dtype=torch.float64)
        features = torch.zeros(width, width, dtype=torch.float64)
        bent, count = [], 0
        for batch in self._batches():
            labels += (batch.roots @ batch.roots.transpose(1, 2)).sum(0).cpu()
            features += (batch.psi.T @ batch.psi).cpu()
            count += len(batch.rows)
            engine, suffix = self.space.engine, self.space.suffix
            if engine is not None and suffix is not None:
                (cotangent,) = self._cotangents(batch, generator, 1)
                bent.append(curvature(suffix, engine.activation(batch.rows), cotangent))
        share = self._share()
        found = {HEAD: Kronecker((labels / count, features), share)}
        if not bent:
            return found
        whole = added(bent)
        for name, trace in whole.traces.items():
            found[name] = _layer(whole.factors.get(name, []), share * trace, self._size(name))
        return found

    def _known(self) -> bool:
        """True if the parent's statistics hold its Fisher matrix."""
        loss = self.component.hyperparameters.get("loss", "rsl")
        return self.space.engine is None and loss == "rsl" and self.component.statistics is not None

    def _size(self, name: str) -> int:
        return self.component.backbone[name].numel()

    def _chosen(self) -> list[int]:
        if self.source is None:
            raise BadDerivation("the operator needs the images that each parent was trained from")
        count = len(self.source.labels)
        spread = torch.linspace(0, count - 1, min(self.images, count), dtype=torch.float64)
        chosen: list[int] = spread.round().long().unique().tolist()
        return chosen

    def _share(self) -> float:
        """The number of images for each image used."""
        return len(self.source.labels) / len(self._chosen()) if self.source else 1.0

    @torch.no_grad()
    def _batches(self) -> Iterator[Batch]:
        chosen, start = set(self._chosen()), 0
        assert self.source is not None
        space = self.space
        for images in self.source.batches(BATCH):
            kept = [i for i in range(len(images)) if start + i in chosen]
            start += len(images)
            if not kept:
                continue
            some = images[kept].to(space.device, space.dtype)
            rows = space.readout_alone(some) if space.engine is None else space.engine.rows(some)
            psi, logits = self._answers(rows.clone())
            yield Batch(rows.clone(), psi, self._roots(logits))

    def _answers(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """psi and the parent's logits, float64."""
        engine, head = self.space.engine, self.base + self.component.head.to(self.base)
        if engine is None:
            return rows.double(), rows.double() @ head.T
        directions = {name: value.to(rows) for name, value in self.component.backbone.items()}
        psi, (along,) = read(engine, rows, [engine.prepare(directions)])
        return psi, psi @ head.T + along.double() @ self.base[:, : self.space.width].T

    def _roots(self, logits: Tensor) -> Tensor:
        if self.component.hyperparameters.get("loss", "rsl") == "rsl":
            return torch.eye(logits.shape[1]).to(logits).expand(len(logits), -1, -1)
        p = torch.softmax(logits, 1)
        return torch.diag_embed(p.sqrt()) - p[:, :, None] * p.sqrt()[:, None, :]

    def _cotangents(self, batch: Batch, generator: torch.Generator, count: int) -> Iterator[Tensor]:
        """Yield `count` cotangents of phi (B, width): random u with E u uᵀ = C, pulled back."""
        width = self.space.width
        for _ in range(count):
            shape = batch.roots.shape[:2]
            signs = torch.randint(0, 2, shape, generator=generator).to(batch.roots) * 2 - 1
            u = torch.einsum("bkj,bj->bk", batch.roots, signs)
            yield (u @ self.base[:, :width]).to(batch.rows.dtype)

    def _pulled(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Yield squares of every image's gradients; they sum to the diagonal."""
        engine, count = self.space.engine, len(self.base)
        if engine is None:
            return
        if count <= MAX_PULLS:
            on_phi = self.base[:, : self.space.width]
            given = [(batch.roots[:, :, k] @ on_phi).to(batch.rows) for k in range(count)]
        else:
            given = list(self._cotangents(batch, generator, MAX_PULLS))
        share = 1.0 if count <= MAX_PULLS else 1 / MAX_PULLS
        for cotangent in given:
            for i in range(len(batch.rows)):
                _, directions = engine.pull(batch.rows[i : i + 1], cotangent[i : i + 1])
                for name, value in directions.items():
                    yield name, share * value.detach().double().square().cpu()


def parents_data(inputs: MergeInputs, images: int) -> list[ParentData]:
    """Return every parent with what can be measured on at most this many of its images."""
    return [
        ParentData(inputs.space, parent.component, parent.source, images, inputs.seed)
        for parent in inputs.parents
    ]


def _layer(factors: list[Tensor], trace: float, size: int) -> Kronecker:
    """A model with this trace; equal in all directions without factors."""
    own = [factor.detach().cpu().double() for factor in factors]
    traces = prod(float(factor.trace()) for factor in own)
    if not own or not traces:
        return Kronecker((), trace / size)
    return Kronecker(tuple(own), trace / traces)


def _input_grams(space: Space, activation: Tensor) -> dict[str, Tensor]:
    """XᵀX by weight over one batch, of every layer in scope that is linear in its inputs."""
    suffix, found = space.suffix, dict[str, Tensor]()
    assert suffix is not None

    def watch(name: str, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        x = _inputs(module, arguments[0].detach()).double()
        found[name] = found.get(name, 0.0) + x.T @ x

    hooks = [
        module.register_forward_pre_hook(partial(watch, f"{name}.weight"))
        for name, module in suffix.model.named_modules()
        if f"{name}.weight" in suffix.base and _is_linear(module)
    ]
    try:
        suffix.run(activation)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return module.in_features <= MAX_FACTOR_SIZE
    if type(module) is not nn.Conv2d or isinstance(module.padding, str) or module.groups > 1:
        return False
    return module.padding_mode == "zeros" and module.weight[0].numel() <= MAX_FACTOR_SIZE


def _inputs(module: nn.Module, x: Tensor) -> Tensor:
    """A layer's inputs as rows; of a convolution, one for each patch."""
    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    assert isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
    patches = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
    return patches.transpose(1, 2).flatten(0, 1)
