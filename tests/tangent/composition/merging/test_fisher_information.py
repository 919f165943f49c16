"""Measurements of merge methods: against explicit Jacobians, and inputs caught by hooks."""

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

import tangent
from tangent.backbones.features import with_constant
from tangent.composition.merging.fisher_information import ParentData
from tests.support.models import fitted, plain_features, relative, source, space, untouched

LABELS = ["ant", "bee", "ant", "cat", "bee"]


@pytest.fixture(scope="module", params=["rsl", "cross_entropy"])
def trained(request, tmp_path_factory) -> tangent.Component:
    scratch = tmp_path_factory.mktemp("scratch")
    where, data = space("mini", "last-block"), source(16, LABELS)
    return fitted(where, data, scratch, loss=request.param, max_iterations=3).component


def data(component: tangent.Component, images: int = 100, seed: int = 0) -> ParentData:
    where = space("mini", component.scope)
    return ParentData(where, component, source(16, LABELS), images, seed)


def jacobians(component: tangent.Component) -> list[dict[str, Tensor]]:
    """Every image's Jacobian (K, …) of the logits, by differentiating the whole plain model."""
    where, model = space("mini", component.scope), untouched("mini")
    assert where.suffix is not None
    base = where.base_rows(component.head_labels)

    def logits(parameters, head, x):
        return (with_constant(plain_features(model, parameters, x)) @ (base + head).T)[0]

    found = []
    for image in source(16, LABELS).pixels:
        zero = torch.zeros_like(base)
        own, head = jacrev(logits, argnums=(0, 1))(where.suffix.base, zero, image[None])
        found.append(own | {"head": head})
    return found


def middles(component: tangent.Component) -> list[Tensor]:
    """C of every image: the identity, or diag p - ppᵀ of the component's own answer."""
    where, pixels = space("mini", component.scope), source(16, LABELS).pixels
    if component.hyperparameters["loss"] == "rsl":
        return [torch.eye(3).double()] * len(pixels)
    delta = tangent.compose(where, [(component, 1.0)], "weighted", shas=["1"])
    shares = torch.softmax(where.logits(pixels, delta).double(), 1)
    return [torch.diag(p) - torch.outer(p, p) for p in shares]


def test_the_diagonal_is_that_of_the_explicit_matrix(trained):
    expected: dict[str, Tensor] = {}
    for jacobian, middle in zip(jacobians(trained), middles(trained), strict=True):
        for name, j in jacobian.items():
            square = torch.einsum("k...,kl,l...->...", j, middle, j)
            expected[name] = expected.get(name, 0.0) + square
    found = data(trained).diagonal()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert relative(found[name], value) <= 1e-5, name


def test_with_many_labels_the_diagonal_is_right_on_average(trained, monkeypatch):
    exact = data(trained).diagonal()
    monkeypatch.setattr("tangent.composition.merging.fisher_information.MAX_PULLS", 2)
    drawn = [data(trained, seed=seed).diagonal() for seed in range(150)]
    for name, value in exact.items():
        mean = torch.stack([each[name] for each in drawn]).mean(0)
        assert float((mean - value).norm() / value.norm()) <= 0.1, name


def test_the_head_s_factors_are_its_matrix_and_the_others_have_its_trace(trained):
    exact, found = data(trained).diagonal(), None
    traces: dict[str, float] = {}
    for seed in range(150):
        found = data(trained, seed=seed).kronecker()
        for name, each in found.items():
            sizes = [float(factor.trace()) for factor in each.factors]
            whole = each.scale * (torch.tensor(sizes).prod().item() if sizes else 1.0)
            if not sizes:
                whole *= exact[name].numel()
            traces[name] = traces.get(name, 0.0) + whole / 150
    assert found is not None and found.keys() == exact.keys()
    assert [len(found[name].factors) for name in ("head", "blocks.1.mlp.fc1.weight")] == [2, 2]
    for name, value in exact.items():
        assert traces[name] == pytest.approx(float(value.sum()), rel=0.15), name


@pytest.mark.parametrize("trained", ["rsl"], indirect=True)  # else C depends on the image
def test_the_factors_of_the_head_are_exact_for_the_square_loss(trained):
    labels, features = data(trained).kronecker()["head"].factors
    jacobian = torch.stack([each["head"][0, 0] for each in jacobians(trained)])
    assert torch.equal(labels, torch.eye(3).double())
    assert relative(features, jacobian.T @ jacobian) <= 1e-12


def test_grams_are_those_of_the_layers_inputs_in_the_plain_model(trained):
    model, seen = untouched("mini"), dict[str, Tensor]()

    def keep(name):
        return lambda _module, arguments, _output: seen.update({name: arguments[0]})

    names = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
    hooks = [
        model.get_submodule(f"blocks.1.{name}").register_forward_hook(keep(f"blocks.1.{name}"))
        for name in names
    ]
    phi = model(source(16, LABELS).pixels)
    for hook in hooks:
        hook.remove()
    found = data(trained).grams()
    assert found.keys() == {"head"} | {f"blocks.1.{name}.weight" for name in names}
    psi = with_constant(phi)
    assert relative(found["head"], psi.T @ psi) <= 1e-12
    for name, inputs in seen.items():
        rows = inputs.reshape(-1, inputs.shape[-1])
        assert relative(found[f"{name}.weight"], rows.T @ rows) <= 1e-12, name


def test_a_convolution_s_inputs_are_its_patches(tmp_path):
    where, pixels = space("resnet_basic", "last-block"), source(32, LABELS)
    component = fitted(where, pixels, tmp_path, max_iterations=1).component
    found = ParentData(where, component, pixels, 100).grams()
    model, name = untouched("resnet_basic"), "layer4.1.conv1"
    seen = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda _m, arguments, output: seen.append((arguments[0], output))
    )
    model(pixels.pixels)
    hook.remove()
    (inputs, outputs), weight = seen[0], model.get_submodule(name).weight
    gram = found[f"{name}.weight"]
    assert gram.shape[0] == weight[0].numel()
    # |W x|² summed over all patches, told by the layer's own output and by the Gram matrix.
    flat = weight.flatten(1)
    assert relative((flat @ gram * flat).sum(), (outputs**2).sum()) <= 1e-10
    assert inputs.shape[1] == weight.shape[1]


def test_fewer_images_are_spread_over_all_and_stand_for_all(trained):
    where, pixels = space("mini", "last-block"), source(16, LABELS)
    some = ParentData(where, trained, pixels, 3)
    assert some._chosen() == [0, 2, 4]
    chosen = ParentData(where, trained, pixels.chosen([0, 2, 4]), 3)
    assert relative(some.grams()["head"], 5 / 3 * chosen.grams()["head"]) <= 1e-12
    assert relative(some.diagonal()["head"], 5 / 3 * chosen.diagonal()["head"]) <= 1e-12
