"""A component is on the CPU, wherever its space runs; results of other devices are moved there."""

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

import tangent
from tangent.components.statistics import measure
from tests.support.devices import space_on
from tests.support.models import fitted, source, space

LABELS = ["cat", "dog", "cat", "eel", "dog", "cat", "dog", "gnu", "cat", "dog"]
DEVICE = torch.device("cuda", 0)  # by name alone: nothing is asked of it


class Away(Tensor):
    """A tensor that counts as one of DEVICE."""


class SecondDevice(TorchFunctionMode):
    """A mode that refuses operations on tensors of both DEVICE and the CPU, as real devices do."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        away = any(isinstance(value, Away) for value in tensors)
        if func == Tensor.device.__get__:
            return DEVICE if away else func(*args)
        if away and func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if away and any(value.ndim and not isinstance(value, Away) for value in tensors):
            raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
        asked = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.device)]
        args, kwargs = tree_map(_here, (args, kwargs))
        found = func(*args, **kwargs)
        there = away and func is not Tensor.cpu if not asked else asked[0] == DEVICE
        return tree_map(_away, found) if there else found


def _here(value):
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.as_subclass(Tensor) if isinstance(value, Away) else value


def _away(value):
    return value.as_subclass(Away) if isinstance(value, Tensor) else value


def test_the_second_device_meets_the_cpu_as_a_real_one_would():
    with SecondDevice():
        x = torch.ones(2, 3, device=DEVICE)
        assert x.device == DEVICE and (x + 1).device == DEVICE and x.cpu().device.type == "cpu"
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()


def test_sums_are_on_the_cpu_wherever_the_features_are():
    psi = torch.randn(4, 3, dtype=torch.float64)
    expected = measure(psi, LABELS[:4])
    with SecondDevice():
        found = measure(psi.as_subclass(Away), LABELS[:4])
        assert found.packed.device.type == found.sums.device.type == "cpu"
        assert torch.equal(found.packed, expected.packed)
        assert torch.equal(found.sums, expected.sums)
        assert torch.equal(found.gram.diagonal(), found.squares)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_an_image_leaves_a_component_though_its_features_are_on_another_device(
    scope, views, tmp_path, monkeypatch
):
    where, data = space("mini", scope, ("owl",)), source(16, LABELS)
    whole = fitted(where, data, tmp_path, views=views).component
    never = fitted(where, data.chosen(range(1, len(LABELS))), tmp_path, views=views).component
    readout = where.readout_alone
    monkeypatch.setattr(where, "readout_alone", lambda images: _away(readout(images)))
    with SecondDevice():
        left = tangent.without(where, whole, data.pixels[:1], LABELS[:1])
    assert left.to_bytes() == never.to_bytes()


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_an_image_leaves_a_component_of_a_space_on_any_device(scope, device, tmp_path):
    where, data = space_on(device, "mini", scope), source(16, LABELS)
    whole = fitted(where, data, tmp_path).component
    never = fitted(where, data.chosen(range(1, len(LABELS))), tmp_path).component
    left = tangent.without(where, whole, data.pixels[:1], LABELS[:1])
    assert left.to_bytes() == never.to_bytes()


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_a_component_is_on_the_cpu_whatever_device_it_was_trained_on(scope, device, tmp_path):
    where, data = space_on(device, "mini", scope), source(16, LABELS)
    given = {"max_iterations": 2} if scope == "last-block" else {}
    component = fitted(where, data, tmp_path, **given).component
    sums = component.statistics
    tensors = [component.head, *component.backbone.values(), sums.packed, sums.sums]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
