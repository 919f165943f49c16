"""Tiny models of many kinds, the spaces over them, and data to train on; all seeded.

Nothing about a case is trivially zero or one: every parameter and running statistic is redrawn.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

import tangent
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.backbones.suffix import Suffix
from tangent.jvp import Engine, choose
from tangent.jvp.functional import Generic
from tangent.training.problem import TrainingProblem


@dataclass(frozen=True)
class Case:
    """A timm architecture at a tiny size, and what the scopes must choose of it."""

    architecture: str
    size: int
    kwargs: dict[str, Any]
    last_block: tuple[str, ...]  # prefixes of the parameters of the last block
    block_before: tuple[str, ...]  # and of the one before it


VIT = dict(img_size=16, patch_size=4, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2.0)
ALIKE = dict(class_token=False, global_pool="avg", qk_norm=True, init_values=0.3)
SWIN = dict(img_size=16, patch_size=2, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(1, 2))
CASES = {
    "vit": Case("vit_tiny_patch16_224", 16, VIT, ("blocks.2.", "norm."), ("blocks.1.",)),
    "mini": Case(  # the smallest, for what trains and composes
        "vit_tiny_patch16_224",
        16,
        dict(img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, mlp_ratio=1.0),
        ("blocks.1.", "norm."),
        ("blocks.0.",),
    ),
    "vit_average": Case(
        "vit_tiny_patch16_224", 16, VIT | ALIKE, ("blocks.2.", "fc_norm."), ("blocks.1.",)
    ),
    "vit_map": Case(
        "vit_base_patch16_siglip_224",
        16,
        VIT | dict(depth=2),
        ("blocks.1.", "norm.", "attn_pool."),
        ("blocks.0.",),
    ),
    "resnet_basic": Case(
        "resnet18",
        32,
        dict(layers=(1, 1, 1, 2), channels=(4, 6, 8, 10)),
        ("layer4.1.",),
        ("layer4.0.",),
    ),
    "resnet_bottleneck": Case(
        "resnet50",
        32,
        dict(layers=(1, 1, 1, 1), channels=(2, 3, 4, 5)),
        ("layer4.0.",),
        ("layer3.0.",),
    ),
    "convnext": Case(
        "convnext_tiny",
        32,
        dict(depths=(1, 1, 2, 1), dims=(4, 6, 8, 10), ls_init_value=0.5),
        ("stages.3.", "head.norm."),
        ("stages.2.blocks.1.",),
    ),
    "efficientnet": Case(
        "test_efficientnet",
        32,
        {},
        ("blocks.4.0.", "conv_head.", "bn2."),
        ("blocks.3.0.",),
    ),
    "mobilenet": Case(
        "mobilenetv3_small_050", 32, {}, ("blocks.5.0.", "conv_head."), ("blocks.4.2.",)
    ),
    "swin": Case(
        "swin_tiny_patch4_window7_224",
        16,
        SWIN,
        ("layers.1.blocks.1.", "norm."),
        ("layers.1.blocks.0.", "layers.1.downsample."),
    ),
    "mixer": Case(
        "mixer_b16_224",
        16,
        dict(img_size=16, patch_size=4, embed_dim=16, num_blocks=3),
        ("blocks.2.", "norm."),
        ("blocks.1.",),
    ),
}
BLOCK_SCOPES = ("last-block", "last-2-blocks", "all")


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Redraw all that a fresh model has at zero or one, at sizes that keep signals of order one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim <= 1:
                parameter.add_(0.3 * noise)
            else:
                parameter.copy_(noise / (parameter.numel() / len(parameter)) ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def fresh(name: str) -> nn.Module:
    """The case's model, the same at each call."""
    case = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name != "mixer":
            return randomise(create_untrained(case.architecture, 0, **case.kwargs))
        with torch.device("meta"):  # its functions fix the sizes, its class does not
            kind = type(create_untrained(case.architecture, 0))
        return randomise(kind(num_classes=0, **case.kwargs))


def backbone(name: str, dtype: torch.dtype = torch.float64) -> Backbone:
    """The case's model as a frozen backbone, a copy at each call as `load_backbone` gives it."""
    held = _wrapped(name, dtype)
    return replace(held, model=deepcopy(held.model))


@cache
def _wrapped(name: str, dtype: torch.dtype) -> Backbone:
    size = CASES[name].size
    return wrap(name, fresh(name).to(dtype), {"input_size": (3, size, size)})


@cache
def untouched(name: str) -> nn.Module:
    """A copy of the case's model that no space has ever seen."""
    return fresh(name).double().eval().requires_grad_(False)


@cache
def space(name: str, scope: str, declared: tuple[str, ...] = ()) -> tangent.Space:
    """A float64 space over the case's model."""
    return tangent.Space(backbone(name), scope, declared)


ENGINES = ("rules", "generic")


def engine_of(kind: str, suffix: Suffix) -> Engine:
    """The engine of that kind; the rules' is the one that a space would choose."""
    if kind == "generic":
        return Generic(suffix, "asked for")
    chosen = choose(suffix)
    assert chosen.name == "rules", chosen.reason
    return chosen


def engine(name: str, scope: str, kind: str = "rules") -> Engine:
    """An engine of the case's float64 space."""
    where = space(name, scope)
    assert where.suffix is not None
    return where.engine if kind == where.engine.name else engine_of(kind, where.suffix)


def pushed(engine: Engine, x: Tensor, delta: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """phi and J·delta of the images."""
    phi, (along,) = engine.push(engine.rows(x), [engine.prepare(delta)])
    return phi, along


def images(size: int, count: int, seed: int = 0) -> Tensor:
    """Random float64 images (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64)


def direction(like: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """A random direction, on every parameter as large as its values."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
        * p.abs().mean().clamp_min(1e-3)
        for name, p in like.items()
    }


def plain_features(model: nn.Module, changed: dict[str, Tensor], x: Tensor) -> Tensor:
    """phi(x) of the whole model with some parameters changed: no split, no hooks."""
    with sdpa_kernel(SDPBackend.MATH):
        return functional_call(model, changed, (x,))


def on_grid(where: tangent.Space, psi: Tensor) -> Tensor:
    """psi (B, D), or its first entries, as the space reads it: at multiples of its steps."""
    if where.grid is None:
        return psi
    steps = where.grid.steps[: psi.shape[1]]
    return torch.floor(psi / steps + 0.5) * steps


def central_difference(function: Callable[[float], Tensor], step: float = 1e-6) -> Tensor:
    """The derivative at zero by a central difference of fourth order."""
    near, far = (function(k * step) - function(-k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest expected value."""
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300)).item()


def state_hash(model: nn.Module) -> str:
    """SHA-256 of every parameter and buffer, non-persistent buffers too."""
    digest = hashlib.sha256()
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Source:
    """Labelled images in memory, as `tangent.fit` reads them."""

    def __init__(self, pixels: Tensor, labels: Sequence[str]) -> None:
        self.pixels, self.labels = pixels, list(labels)

    def batches(self, size: int) -> Iterator[Tensor]:
        return iter(self.pixels.split(size))

    def chosen(self, index: Sequence[int]) -> "Source":
        """The given rows, in the order given and as often as given."""
        rows = torch.tensor(list(index), dtype=torch.long)
        return Source(self.pixels[rows], [self.labels[i] for i in rows.tolist()])


def source(size: int, labels: Sequence[str], seed: int = 0) -> Source:
    """One noisy image a label of the list, drawn around a template of that label."""
    names = sorted(set(labels))
    seeds = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") for name in names]
    templates = {n: images(size, 1, s)[0] for n, s in zip(names, seeds, strict=True)}
    noise = images(size, len(labels), seed)
    pixels = torch.stack([templates[n] for n in labels]) + 1.5 * noise
    return Source(pixels, labels)


def fitted(
    where: tangent.Space, data: Source, scratch: Path, seed: int = 0, **given: Any
) -> tangent.TrainingResult:
    """`tangent.fit` with the given hyperparameters over the scope's defaults."""
    settings = tangent.Hyperparameters.resolve(where.scope, given)
    return tangent.fit(where, data, settings, seed=seed, scratch=scratch)


@cache
def trained(scope: str) -> tangent.Component:
    """One small component of the smallest case, the same in every process."""
    data = source(16, ["größe", "dog", "a/b", "dog", "größe"])
    with TemporaryDirectory() as scratch:
        where = space("mini", scope, ("owl",))
        return fitted(where, data, Path(scratch), seed=7, max_iterations=4).component


def problem(where: tangent.Space, data: Source, **given: Any) -> TrainingProblem:
    """The training problem with its rows in memory."""
    settings = tangent.Hyperparameters.resolve(where.scope, given)
    split = where.readout if where.engine is None else where.engine.rows
    rows = split(data.pixels.to(where.device, where.dtype)).clone()
    return TrainingProblem(where, rows, data.labels, settings)


def exact_logits(where: tangent.Space, x: Tensor, delta: tangent.Delta) -> Tensor:
    """The float64 numbers that `logits` rounds to float32; proofs to 1e-10 need them."""
    return where._answers(x, [where._head(delta)], exact=True)[1][0]


def delta_bytes(delta: tangent.Delta) -> bytes:
    """Everything of a delta, labels included."""
    parts = [repr(delta.labels).encode()]
    for name, value in sorted(delta.tensors().items()):
        parts.append(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        parts.append(value.contiguous().numpy().tobytes())
    return b"".join(parts)
