"""The pre-trained timm backbone at fixed weights; the only file that imports timm.

Two small backbones for 32 x 32 images ship with the package. Both are ordinary timm classes under
names registered with timm, so `timm.create_model` knows them too.
"""

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tangent.backbones.deferred_compiler import compiler_deferred
from tangent.backbones.freezing import freeze
from tangent.backbones.preprocessing import Preprocessing
from tangent.backbones.torchvision_guard import import_torchvision
from tangent.backbones.weights_file import check_fit, configuration, is_file
from tangent.errors import (
    BackboneUnavailable,
    TangentError,
    UnknownBackbone,
    UnsupportedModel,
)

with compiler_deferred():
    import_torchvision()  # timm imports torchvision at import time

    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.layers import Attention as Attention
    from timm.layers import HybridEmbed, PatchDropout
    from timm.layers import LayerScale as LayerScale
    from timm.layers import Mlp as Mlp
    from timm.models import register_model
    from timm.models.resnet import BasicBlock, ResNet
    from timm.models.vision_transformer import Block as Block
    from timm.models.vision_transformer import VisionTransformer as VisionTransformer
    from timm.models.vision_transformer_hybrid import ConvStem

# Of timm's builders, for names and configurations that do not fit each other.
TIMM_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)
WEIGHTS = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor `x -> phi(x)` with its preprocessing, name and fingerprint."""

    name: str
    model: nn.Module  # eval mode, no classifier: model(images) is (B, width)
    preprocess: Preprocessing  # RGB image -> float32 (3, S, S)
    image_size: int
    width: int
    fingerprint: str  # of architecture, weights, buffers and preprocessing


@register_model
def vit_micro_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with a convolutional stem: 64 tokens and a class token, width 128, 5 blocks."""
    stem = ConvStem(depth=3, channels=(48, 96, 128), stride=(2, 1, 2), kernel_size=3)
    defaults: dict[str, Any] = dict(
        img_size=32,
        patch_size=1,
        embed_dim=128,
        depth=5,
        num_heads=4,
        mlp_ratio=2.0,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
    )
    return VisionTransformer(**(defaults | _without_hub_arguments(kwargs)))


@register_model
def resnet_micro_32(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-10 with a 3 x 3 stem of stride 1 and channels 64, 96, 160, 256."""
    kwargs = _without_hub_arguments(kwargs)
    block: Any = BasicBlock  # timm's annotation asks for an instance
    model: Any = ResNet(block, layers=(1, 1, 1, 1), channels=(64, 96, 160, 256), **kwargs)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    return cast(ResNet, model)


def _without_hub_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    hub = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {k: v for k, v in kwargs.items() if k not in hub}


def shipped_backbones() -> list[str]:
    """Names of the backbones whose weights come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def create_untrained(name: str, num_classes: int, **kwargs: Any) -> nn.Module:
    """The named timm architecture with fresh weights from torch's global generator."""
    return timm.create_model(name, pretrained=False, num_classes=num_classes, **kwargs)


def architectures() -> dict[str, list[str]]:
    """The names of timm's architectures, by the module of timm that defines them."""
    return {module: timm.list_models(module=module) for module in timm.list_modules()}


def patch_dropout(rate: float) -> nn.Module:
    """timm's dropout of whole tokens, which makes the pre-training of a ViT cheaper."""
    return PatchDropout(rate, num_prefix_tokens=1) if rate else nn.Identity()


def load_backbone(name: str) -> Backbone:
    """Load a shipped backbone, a timm model with its pre-trained weights, or local safetensors.

    Local weights are named by their path, with timm's `config.json` or a `<stem>.json` beside them
    that says `architecture`, or as `<timm name>:<path>`.

    Raises:
        UnknownBackbone: no backbone has this name; the message lists the nearest valid names.
        BackboneUnavailable: the weights cannot be read or downloaded.
        UnsupportedModel: timm cannot build the model, or the model has no features to use.
    """
    try:
        return _loaded(name)
    except TangentError:
        raise
    except OSError as error:
        raise BackboneUnavailable(
            f"the files of {name} cannot be read ({error.strerror}): check their permissions"
        ) from error
    except TIMM_ERRORS as error:
        if "allocate memory" in str(error):
            raise
        raise UnsupportedModel(
            f"timm cannot build {name} ({type(error).__name__}: {error}): choose another "
            "architecture, or check the configuration beside its weights"
        ) from error


def _loaded(name: str) -> Backbone:
    if name in shipped_backbones():
        return _load_file(name, WEIGHTS / f"{name}.safetensors", architecture=name)
    architecture, _, path = name.rpartition(":")
    if path.endswith(".safetensors"):
        return _load_file(name, Path(path), architecture=architecture or None)
    _check_known(name)
    return wrap(name, _download(name))


def _download(name: str) -> nn.Module:
    """Return the timm model with its published weights, from the hub or its local cache."""
    published = timm.get_pretrained_cfg(name)
    repository = (published.hf_hub_id if published else None) or ""
    if "/" not in repository:
        raise BackboneUnavailable(f"timm publishes no safetensors weights of {name} on its hub")
    try:
        if not isinstance(try_to_load_from_cache(repository, "model.safetensors"), str):
            HfApi().model_info(
                repository, timeout=10
            )  # one request; a download would retry for long
        return timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # hub errors have many types, none of them ours
        raise BackboneUnavailable(
            f"the pre-trained weights of {name} could not be fetched ({type(error).__name__}); "
            f"use a shipped backbone ({', '.join(shipped_backbones())}) or local weights"
        ) from error


def _check_known(name: str) -> None:
    """Raise UnknownBackbone unless timm has the architecture, and weights of this tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(name) or (tag and architecture in shipped_backbones()):
        raise UnknownBackbone(_not_known(name))
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = ", ".join(timm.list_pretrained(f"{architecture}.*")) or architecture
        raise UnknownBackbone(
            f"timm has no weights {tag!r} of {architecture}: use one of {known}"
        ) from error


def _not_known(name: str) -> str:
    valid = shipped_backbones() + timm.list_models()
    nearest = difflib.get_close_matches(name, valid, n=5, cutoff=0.4) or shipped_backbones()
    return f"no backbone is called {name!r}; the nearest names are {', '.join(nearest)}"


def _load_file(name: str, path: Path, architecture: str | None) -> Backbone:
    """Load weights of any float type as float32; the configuration is read from beside the file."""
    if not is_file(path):
        raise UnknownBackbone(f"there is no weights file at {path}")
    config = configuration(path)
    architecture = architecture or _configured(config.get("architecture"), path)
    _check_known(architecture)
    if name not in shipped_backbones():  # those fit; models without memory load torch's compiler
        with torch.device("meta"):
            check_fit(path, architecture, create_untrained(architecture, 0).state_dict())
    model = create_untrained(architecture, 0)
    try:
        state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
        model.load_state_dict(state, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise BackboneUnavailable(
            f"{path} does not hold weights of {architecture}: {error}"
        ) from error
    return wrap(name, model, config.get("preprocessing") or config.get("pretrained_cfg"))


def _configured(architecture: Any, path: Path) -> str:
    """Return the architecture that the configuration beside the file names, if it is one."""
    if architecture is None:
        raise UnknownBackbone(f"{path} names no architecture: call it <timm name>:{path}")
    try:
        _check_known(str(architecture))
    except UnknownBackbone:  # whose file that is nobody has checked: no word of it is repeated
        raise UnknownBackbone(
            f"the configuration beside {path} names no architecture of timm, such as resnet50"
        ) from None
    return str(architecture)


def wrap(name: str, model: Any, preprocessing: dict[str, Any] | None = None) -> Backbone:
    """Freeze a timm model as a backbone; preprocessing follows the checkpoint's configuration.

    Raises:
        UnsupportedModel: the model does not give one feature vector per image.
    """
    model.reset_classifier(0)
    freeze(model)
    config = resolve_data_config(preprocessing or {}, pretrained_cfg=preprocessing, model=model)
    size = config["input_size"][-1]
    with torch.no_grad():
        features = model(
            torch.zeros(2, *config["input_size"], dtype=next(model.parameters()).dtype)
        )
    if features.ndim != 2:
        raise UnsupportedModel(
            f"{name} gives features of shape {tuple(features.shape)}, expected (images, width): "
            "choose a model that pools its features"
        )
    settings = {
        k: config[k]
        for k in ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
    }
    return Backbone(
        name=name,
        model=model,
        preprocess=Preprocessing(create_transform(**config, is_training=False).transforms),
        image_size=size,
        width=features.shape[1],
        fingerprint=_fingerprint(model, settings),
    )


def _fingerprint(model: nn.Module, preprocessing: dict[str, Any]) -> str:
    """SHA-256 of the architecture, every parameter and buffer, and the preprocessing.

    timm's name of the architecture is included: two architectures may differ in their activations
    or in the number of heads and take the same weights.
    """
    class_name = type(model).__name__
    architecture = (getattr(model, "pretrained_cfg", None) or {}).get("architecture", class_name)
    about = f"{class_name} {architecture}\n{json.dumps(preprocessing, sort_keys=True)}\n"
    digest = hashlib.sha256(about.encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
