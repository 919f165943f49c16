"""Models that other frameworks take as they are: shared keys, odd strides, lists, volumes."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.nn import functional as F

import tangent
from tangent.backbones.loading import Backbone, wrap
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose
from tangent.jvp.functional import Generic
from tests.support.models import direction, pushed


class MultiQuery(nn.Module):
    """Two heads that share one key and one value, as in MobileNetV4."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.rest = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2).reshape(len(x), -1, 6)
        query = self.query(tokens).unflatten(-1, (2, 4)).transpose(1, 2)
        key, value = self.rest(tokens).unsqueeze(1).chunk(2, dim=-1)
        return F.scaled_dot_product_attention(query, key, value).mean(2).flatten(1)


class Strided(nn.Module):
    """A group norm over an image whose channels come last in memory, as in SHViT."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 4, 1), nn.GroupNorm(1, 4)

    def forward(self, x):
        x = self.layer(x).contiguous(memory_format=torch.channels_last)
        return self.norm(x).mean((2, 3)) ** 2


class Branches(nn.Module):
    """A block that takes the list of two branches, as in CrossViT."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 4)

        def forward(self, branches):
            return self.layer(branches[0] * branches[1])

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.mixed = nn.Linear(48, 5), nn.Linear(48, 5), self.Mixed()

    def forward(self, x):
        x = x.flatten(1)
        return self.mixed([self.left(x), self.right(x)])


def suffix(kind: type[nn.Module], names: str = "") -> Suffix:
    """The suffix of a model of this kind whose tangent parameters have names that begin so."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind().double().eval().requires_grad_(False)
    chosen = [name for name, _ in model.named_parameters() if name.startswith(names)]
    return Suffix(Backbone(kind.__name__, model, lambda image: image, 4, 8, "none"), chosen)


def differentiated(split: Suffix, delta, x):
    """phi and J·delta by torch.func on a model whose group norms are plain arithmetic."""
    norm = getattr(split.model, "norm", None)

    def plain(y, groups, weight, bias, eps):
        assert groups == 1
        mean, variance = y.mean((1, 2, 3), keepdim=True), y.var((1, 2, 3), False, keepdim=True)
        y = (y - mean) / (variance + eps).sqrt()
        return y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)

    if norm is not None:
        norm.forward = lambda y: plain(y, norm.num_groups, norm.weight, norm.bias, norm.eps)
    try:
        return jvp(lambda p: functional_call(split.model, p, (x,)), (split.base,), (delta,))
    finally:
        if norm is not None:
            del norm.forward


@pytest.mark.parametrize("kind", [MultiQuery, Strided, Branches])
def test_the_chosen_and_the_general_engine_give_the_derivative(kind):
    split = suffix(kind)
    delta, x = direction(split.base), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    phi, along = differentiated(split, delta, x)
    chosen = choose(split)
    assert chosen.name == "rules", chosen.reason
    for engine in (chosen, Generic(split, "asked for")):
        found_phi, found = pushed(engine, x, delta)
        torch.testing.assert_close(found_phi, phi, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found, along, rtol=1e-12, atol=1e-14)


def test_a_model_is_not_split_where_a_list_passes_between_its_blocks():
    split, x = suffix(Branches, "mixed."), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert split.entry is None
    assert torch.equal(split.run(split.activation(x)), split.model(x))
    assert choose(split).name == "rules"


class Biased(nn.Module):
    """An attention that keeps its biases between passes, and forgets them when moved, as timm's."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 4, 4), "num_classes": 0}
        self.attention_biases = nn.Parameter(torch.randn(2, 16))
        self.register_buffer("attention_bias_idxs", torch.arange(16).flip(0))
        self.attention_bias_cache: dict[str, torch.Tensor] = {}

    def _apply(self, *args, **kwargs):
        self.attention_bias_cache = {}
        return super()._apply(*args, **kwargs)

    def get_attention_biases(self, device):
        if device not in self.attention_bias_cache:
            self.attention_bias_cache[device] = self.attention_biases[:, self.attention_bias_idxs]
        return self.attention_bias_cache[device]

    def reset_classifier(self, _classes):
        pass

    def forward(self, x):
        return x.mean(1).flatten(1) @ self.get_attention_biases(str(x.device)).T


def test_a_cache_of_a_models_own_hides_no_parameter_from_the_derivative():
    """A space moves its model to a device, and timm's models then begin a new cache."""
    space = tangent.Space(wrap("biased", Biased(), {"input_size": (3, 4, 4)}), "all")
    delta, x = direction(space.suffix.base), torch.rand(2, 3, 4, 4)
    for engine in (space.engine, Generic(space.suffix, "asked for")):
        _, along = pushed(engine, x, delta)
        expected = x.mean(1).flatten(1) @ delta["attention_biases"].flip(1).T
        torch.testing.assert_close(along, expected)


class Volume(nn.Module):
    """Two-dimensional batch norms beside a convolution in three dimensions, as in LambdaResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 8, 8), "num_classes": 0}
        self.flat, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.volume = nn.Conv3d(1, 2, 3)

    def reset_classifier(self, _classes):
        pass

    def forward(self, x):
        x = self.norm(self.flat(x)).unsqueeze(1)
        return self.volume(x).flatten(2).mean(2)


def test_a_model_with_a_convolution_in_three_dimensions_opens():
    space = tangent.Space(wrap("volume", Volume(), {"input_size": (3, 8, 8)}), "all")
    assert space.engine_name == "rules", space.engine_reason
