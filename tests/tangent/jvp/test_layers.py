"""Every kind of layer alone: the tangent against differences, and GELU against its formula."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tangent.backbones.loading import Backbone
from tangent.backbones.suffix import Suffix
from tests.support.models import (
    CASES,
    ENGINES,
    central_difference,
    direction,
    engine,
    engine_of,
    images,
    plain_features,
    pushed,
    randomise,
    relative,
    space,
    untouched,
)

SIZE, WIDTH = 8, 6
TINY = (0.0, 1e-9, -1e-9, 1e-8, -1e-8, 1e-6, -1e-6)


class Around(nn.Module):
    """x + layer(x)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return x + self.layer(x)


class Tokens(nn.Module):
    """A layer of tokens (B, N, C) on a map (B, C, H, W), with a learned token before them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.token, self.layer = nn.Parameter(torch.ones(1, 1, WIDTH)), layer

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return self.layer(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, :3]


class Attention(nn.Module):
    """Two heads of plain softmax attention, optionally with normalised queries and keys."""

    def __init__(self, normalised: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH // 2) if normalised else nn.Identity()

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.norm(q), self.norm(k)
        weights = (q @ k.transpose(-2, -1) / (WIDTH // 2) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class Fused(Attention):
    """The same attention by torch's fused kernel, which its plain variant must replace."""

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate on their means."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(WIDTH, 3, 1), nn.Conv2d(3, WIDTH, 1)

    def forward(self, x):
        gate = self.up(F.silu(self.down(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


class Scaled(nn.Module):
    """LayerScale: a factor per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH, 1, 1))

    def forward(self, x):
        return x * self.gamma


def conv(**kwargs) -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, **kwargs)


LAYERS = {
    "linear": lambda: Tokens(nn.Linear(WIDTH, WIDTH)),
    "conv": lambda: conv(padding=1),
    "conv_strided": lambda: conv(stride=2, bias=False),
    "conv_depthwise": lambda: conv(groups=WIDTH, padding=1),
    "conv_dilated": lambda: conv(dilation=2),
    "conv_circular": lambda: conv(padding=1, padding_mode="circular"),
    "conv_reflect": lambda: conv(padding=1, padding_mode="reflect"),
    "conv_transposed": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2),
    "batch_norm": lambda: nn.BatchNorm2d(WIDTH),
    "batch_norm_plain": lambda: nn.BatchNorm2d(WIDTH, affine=False),
    "layer_norm": lambda: Tokens(nn.LayerNorm(WIDTH)),
    "layer_norm_plain": lambda: Tokens(nn.LayerNorm(WIDTH, elementwise_affine=False)),
    "rms_norm": lambda: Tokens(nn.RMSNorm(WIDTH)),
    "group_norm": lambda: nn.GroupNorm(2, WIDTH),
    "instance_norm": lambda: nn.InstanceNorm2d(WIDTH, affine=True),
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "prelu": lambda: nn.PReLU(WIDTH),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(1),
    "glu": lambda: nn.Sequential(nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.GLU(1)),
    "attention": lambda: Tokens(Attention()),
    "attention_normalised": lambda: Tokens(Attention(normalised=True)),
    "attention_fused": lambda: Tokens(Fused()),
    "squeeze_excite": SqueezeExcite,
    "layer_scale": Scaled,
    "residual": lambda: Around(conv(padding=1)),
    "max_pool": lambda: nn.MaxPool2d(2),
    "padding": lambda: nn.ConstantPad2d(1, 2.0),
    "average_pool": lambda: nn.AvgPool2d(2),
    "adaptive_pool": lambda: nn.AdaptiveAvgPool2d(2),
    "upsample": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "pixel_shuffle": lambda: nn.Sequential(nn.Conv2d(WIDTH, 8, 1), nn.PixelShuffle(2)),
    "dropout": lambda: nn.Dropout(0.5),
}


def suffix_of(model: nn.Module, size: int, width: int) -> Suffix:
    """All parameters of the model as tangent parameters."""
    model = model.double().eval().requires_grad_(False)
    held = Backbone("layer", model, lambda image: image, size, width, "none")
    return Suffix(held, [name for name, _ in model.named_parameters()])


def with_layer(kind: str) -> nn.Module:
    """conv → the layer → a linear readout, so that the layer gets and passes on a tangent."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, WIDTH, 3), LAYERS[kind](), nn.Flatten())
    with torch.no_grad():
        flat = body.eval()(torch.randn(1, 3, SIZE, SIZE)).shape[1]
    return randomise(nn.Sequential(body, nn.Linear(flat, WIDTH))).double()


engines = pytest.mark.parametrize("by", ENGINES)


@engines
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layers_tangent_equals_a_central_difference(kind, by):
    with torch.random.fork_rng():
        model = with_layer(kind)
    suffix, x = suffix_of(model, SIZE, WIDTH), images(SIZE, 3)
    engine = engine_of(by, suffix)
    delta = direction(suffix.base)

    def moved(step):
        return plain_features(model, {k: suffix.base[k] + step * v for k, v in delta.items()}, x)

    _, found = pushed(engine, x, delta)
    expected = central_difference(moved)
    assert relative(found, expected) <= 1e-7
    assert expected.abs().max() > 1e-3
    u = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).double()
    _, pulled = engine.pull(engine.rows(x), u)
    inner = sum((pulled[k] * v).sum() for k, v in delta.items())
    assert abs(inner - (u * found).sum()) <= 1e-11 * u.norm() * found.norm()


class OnlyGelu(nn.Module):
    """gelu(x + bias) of the first channel."""

    def __init__(self, approximate: str) -> None:
        super().__init__()
        self.bias, self.gelu = nn.Parameter(torch.zeros(len(TINY))), nn.GELU(approximate)

    def forward(self, x):
        return self.gelu(x[:, 0].flatten(1)[:, : len(TINY)] + self.bias)


@engines
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_tangent_of_gelu_is_right_at_and_around_zero(approximate, by):
    suffix = suffix_of(OnlyGelu(approximate), 4, len(TINY))
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    x[0, 0].view(-1)[: len(TINY)] = torch.tensor(TINY, dtype=torch.float64)
    twice = {"bias": torch.full((len(TINY),), 2.0, dtype=torch.float64)}
    _, found = pushed(engine_of(by, suffix), x, twice)
    for value, entry in zip(TINY, found[0].tolist(), strict=True):
        cumulative = 0.5 * (1 + math.erf(value / math.sqrt(2)))
        density = math.exp(-(value**2) / 2) / math.sqrt(2 * math.pi)
        assert entry == pytest.approx(2 * (cumulative + value * density), rel=1e-14)


@engines
def test_a_relus_tangent_is_zero_at_its_kink(by):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, WIDTH), nn.ReLU())
    model[1].bias.data.zero_()
    suffix, zero = suffix_of(model, 4, WIDTH), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    delta = direction(suffix.base) | {"1.bias": torch.ones(WIDTH).double()}
    _, found = pushed(engine_of(by, suffix), zero, delta)
    assert (found == 0).all()


@engines
@pytest.mark.parametrize("name", CASES)
def test_an_all_zero_image_has_a_finite_and_true_tangent(name, by):
    suffix, model = space(name, "last-block").suffix, untouched(name)
    x = torch.zeros_like(images(CASES[name].size, 2))
    delta = direction(suffix.base)

    def moved(step):
        return plain_features(model, {k: suffix.base[k] + step * v for k, v in delta.items()}, x)

    _, found = pushed(engine(name, "last-block", by), x, delta)
    assert torch.isfinite(found).all()
    assert relative(found, central_difference(moved)) <= 1e-7
    assert relative(found[0], found[1]) <= 1e-13
