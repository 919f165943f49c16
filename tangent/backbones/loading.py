"""The pre-trained timm backbone at fixed weights; only this file and `micro` import timm.

Three backbones ship with the package: two for 32 x 32 images, of the architectures in `micro`, and
timm's own `tf_efficientnet_lite0` for photographs, with weights from ImageNet (see `conversion`).
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tangent.backbones.deferred_compiler import compiler_deferred
from tangent.backbones.fingerprint import fingerprint_of
from tangent.backbones.freezing import freeze
from tangent.backbones.hub import fetched
from tangent.backbones.preprocessing import Preprocessing
from tangent.backbones.torchvision_guard import import_torchvision
from tangent.backbones.weights_file import (
    check_fit,
    configuration,
    is_file,
    is_folder,
    is_license,
    license_of,
    unwrapped,
)
from tangent.backbones.weights_folder import (
    SAFETENSORS,
    check_arguments,
    check_format,
    divided,
    is_of_hub,
    weights_in,
)
from tangent.errors import BackboneUnavailable, TangentError, UnknownBackbone, UnsupportedModel

with compiler_deferred():
    import_torchvision()  # timm imports torchvision at import time

    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.layers import Attention as Attention
    from timm.layers import LayerScale as LayerScale
    from timm.layers import Mlp as Mlp
    from timm.layers import PatchDropout
    from timm.models.vision_transformer import Block as Block
    from timm.models.vision_transformer import VisionTransformer as VisionTransformer

    from tangent.backbones import micro  # noqa: F401 - registers two architectures

# Of timm's builders, for names and configurations that do not fit each other.
TIMM_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)
# Of the preprocessing.
SETTINGS = "input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode"
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
    license: str | None = None  # of the weights, as whoever published them says
    architecture: str = ""  # by which timm builds the model; empty: it was built otherwise
    settings: dict[str, Any] = field(default_factory=dict)  # of the preprocessing, as timm has them


def shipped_backbones() -> list[str]:
    """Names of the backbones whose weights come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def create_untrained(name: str, num_classes: int, **kwargs: Any) -> nn.Module:
    """The named timm architecture with fresh weights from torch's global generator."""
    return timm.create_model(name, pretrained=False, num_classes=num_classes, **kwargs)


def is_architecture(name: str) -> bool:
    """Return whether timm itself defines this name, so that building it asks no network.

    timm's builder also takes names such as `hf-hub:owner/name`, and fetches what they name.
    """
    return re.fullmatch(r"\w+(\.\w+)?", name, re.ASCII) is not None and timm.is_model(name)


def architectures() -> dict[str, list[str]]:
    """The names of timm's architectures, by the module of timm that defines them."""
    return {module: timm.list_models(module=module) for module in timm.list_modules()}


def patch_dropout(rate: float) -> nn.Module:
    """timm's dropout of whole tokens, which makes the pre-training of a ViT cheaper."""
    return PatchDropout(rate, num_prefix_tokens=1) if rate else nn.Identity()


def load_backbone(name: str) -> Backbone:
    """Load a shipped backbone, a timm model with its pre-trained weights, or weights of one's own.

    Local weights are named by the path of their file or folder, with timm's `config.json` or a
    `<stem>.json` beside them that says `architecture`, or as `<timm name>:<path>`; those of the
    Hugging Face hub as `hf-hub:<owner>/<name>`.

    Raises:
        UnknownBackbone: no backbone has this name; the message lists the nearest valid names.
        BackboneUnavailable: the weights cannot be read or downloaded.
        WrongWeights: they are not of this architecture; the message has the first differences.
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
    if is_of_hub(name):
        return _from_hub(name)
    check_format(name)
    architecture, path = divided(name)
    if path:
        return _load_file(name, _file_at(Path(path), name), architecture or None)
    _check_known(name)
    model = _download(name)
    published = (getattr(model, "pretrained_cfg", None) or {}).get("license")
    license_, architecture = published if is_license(published) else None, name.partition(".")[0]
    return wrap(name, model, license_=license_, architecture=architecture)


def _from_hub(name: str) -> Backbone:
    path = fetched(name)
    try:
        return _load_file(name, path, architecture=None)
    except TangentError as error:  # where the cache lies is nobody's business
        told = str(error).replace(str(path), name).replace(str(path.parent), name)
        raise type(error)(told) from error


def _file_at(path: Path, name: str) -> Path:
    """Return the weights file of a path, which may be a folder's."""
    if path.suffix == SAFETENSORS:
        return path
    if is_folder(path):
        return weights_in(path)
    raise UnknownBackbone(
        f"no backbone is called {name!r}: there is no such folder; a repository of the Hugging "
        "Face hub is called hf-hub:<owner>/<name>"
    )


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
    if not timm.is_model(name) or (tag and timm.get_pretrained_cfg(architecture) is None):
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
        check_arguments(config, path)
        with torch.device("meta"):
            model = create_untrained(architecture, 0)
        check_fit(path, architecture, model.state_dict(), _classifier(model))
    model = create_untrained(architecture, 0)
    try:
        tensors = load_file(path).items()
        state = {unwrapped(k): v.float() if v.is_floating_point() else v for k, v in tensors}
        model.load_state_dict(state, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise BackboneUnavailable(
            f"{path} does not hold weights of {architecture}: {error}"
        ) from error
    shown = config.get("preprocessing") or config.get("pretrained_cfg")
    license_ = license_of(path, config)
    return wrap(name, model, shown, license_=license_, architecture=architecture)


def _classifier(model: Any) -> tuple[str, ...]:
    """Return the names of the layers that a model for classes has beside this one."""
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


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


def wrap(
    name: str,
    model: Any,
    preprocessing: Any = None,
    *,
    license_: str | None = None,
    architecture: str = "",
) -> Backbone:
    """Freeze a timm model as a backbone; preprocessing follows the checkpoint's configuration.

    Raises:
        UnsupportedModel: the model does not give one feature vector per image.
    """
    model.reset_classifier(0)
    freeze(model)
    config = resolve_data_config(preprocessing or {}, pretrained_cfg=preprocessing, model=model)
    size = config["input_size"][-1]
    with torch.no_grad():
        features = model(torch.zeros(2, *config["input_size"]).to(next(model.parameters())))
    if features.ndim != 2:
        raise UnsupportedModel(
            f"{name} gives features of shape {tuple(features.shape)}, expected (images, width): "
            "choose a model that pools its features"
        )
    settings = {name: config[name] for name in SETTINGS}
    return Backbone(
        name=name,
        model=model,
        preprocess=Preprocessing(create_transform(**config, is_training=False).transforms),
        image_size=size,
        width=features.shape[1],
        fingerprint=fingerprint_of(model, settings),
        license=license_,
        architecture=architecture,
        settings=settings,
    )
