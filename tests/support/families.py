"""Small models of timm's families, with their derivatives by torch, for tests of engines."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.func import jvp

from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.backbones.suffix import Suffix
from tests.support.models import plain_features, randomise

TINY_VIT = dict(img_size=32, depth=3, embed_dim=32, num_heads=2)
TINY_SWIN = dict(img_size=64, window_size=2, depths=(2, 2), embed_dim=16, num_heads=(2, 2))


@dataclass(frozen=True)
class Family:
    """A timm architecture, the size of its images, and the arguments that make it small."""

    architecture: str
    size: int
    kwargs: tuple[tuple[str, object], ...] = ()


def family(architecture: str, size: int, **kwargs: object) -> Family:
    return Family(architecture, size, tuple(kwargs.items()))


FAMILIES = {
    f.architecture: f
    for f in [
        family("vit_tiny_patch16_224", 32, **TINY_VIT),
        family("deit3_small_patch16_224", 32, **TINY_VIT),
        family("vit_small_patch14_dinov2", 28, **TINY_VIT | dict(img_size=28)),
        family("vit_base_patch16_siglip_224", 32, **TINY_VIT),
        family("beit_base_patch16_224", 32, **TINY_VIT, init_values=0.1),
        family("eva02_tiny_patch14_224", 28, **TINY_VIT | dict(img_size=28)),
        family("cait_xxs24_224", 32, **TINY_VIT),
        family("xcit_nano_12_p16_224", 32, **TINY_VIT),
        family("swin_tiny_patch4_window7_224", 64, **TINY_SWIN),
        family("swinv2_tiny_window8_256", 64, **TINY_SWIN),
        family("pvt_v2_b0", 64),
        family("edgenext_xx_small", 64),
        family("mobilevit_xxs", 64),
        family("levit_128s", 224),
        family("mixer_s16_224", 32, img_size=32),
        family("convnext_atto", 64),
        family("convnextv2_atto", 64),
        family("resnet18", 64),
        family("resnet26", 64),
        family("seresnet18", 64),
        family("resnext50_32x4d", 64, layers=(1, 1, 1, 1)),
        family("resnetv2_18", 64),
        family("regnety_002", 64),
        family("densenet121", 64, block_config=(1, 1, 1, 1)),
        family("efficientnet_b0", 64),
        family("mobilenetv3_small_100", 64),
        family("mobilenetv4_conv_small", 64),
        family("ghostnet_100", 64),
        family("repvgg_a0", 64),
        family("fastvit_t8", 64),
    ]
}


@cache
def held(name: str, dtype: torch.dtype) -> Backbone:
    """A small model of the family as a frozen backbone."""
    about = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = randomise(create_untrained(about.architecture, 0, **dict(about.kwargs)))
    return wrap(name, model.to(dtype), {"input_size": (3, about.size, about.size)})


def derivative(name: str, delta: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """phi and J·delta of the whole model by torch.func, in float64."""
    model = held(name, torch.float64).model
    base = {key: dict(model.named_parameters())[key].detach() for key in delta}
    phi, along = jvp(lambda p: plain_features(model, p, x), (base,), (delta,))
    return phi, along


def error(found: Tensor, expected: Tensor) -> float:
    """The relative error, in the Euclidean norm."""
    return ((found.double() - expected).norm() / expected.norm()).item()


def rounding(model: torch.nn.Module, kind: torch.dtype) -> tuple[float, float]:
    """Bounds of the errors of phi and of J of a model that was rounded to the type.

    Some roundings; √ε of J where a pre-activation about 0 falls on either side of a kink.
    """
    eps = torch.finfo(kind).eps
    is_kinked = any(type(module).__name__.startswith("ReLU") for module in model.modules())
    return 2 * eps, eps**0.5 if is_kinked else 5 * eps


class Unruly(torch.nn.Module):
    """A linear layer, then an operation of the given kind."""

    def __init__(self, operation) -> None:
        super().__init__()
        self.layer, self.operation = torch.nn.Linear(48, 8), operation

    def forward(self, x):
        return self.operation(self.layer(x.flatten(1)))


def over(operation, **about) -> Suffix:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Unruly(operation).double().eval().requires_grad_(False)
    for key, value in about.items():
        setattr(model, key, value)
    chosen = Backbone("unruly", model, lambda image: image, 4, 8, "none")
    return Suffix(chosen, ["layer.weight", "layer.bias"])
