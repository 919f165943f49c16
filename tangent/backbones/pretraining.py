"""Pre-train a shipped backbone on an image-folder archive.

    python -m tangent.backbones.pretraining --help

The command writes `<name>.safetensors` (fp16) and `<name>.json`, its model card: data, seed, recipe
and the accuracy of the weights as written, on a single centre view of every test image.
"""

import argparse
import hashlib
import io
import json
import math
import platform
import tarfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbones import loading

Splits = dict[str, tuple[Tensor, Tensor]]  # split -> images and their label indices

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = {
    "input_size": [3, 32, 32],
    "mean": MEAN,
    "std": STD,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
}
Recipe = dict[str, Any]
RECIPES: dict[str, Recipe] = {
    "vit_micro_32": dict(
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.05,
        epochs=22,
        patch_drop=0.5,
        full_epochs=5,
        precision="float32",  # bfloat16 gains nothing here
    ),
    "resnet_micro_32": dict(
        optimizer="sgd",
        lr=0.15,
        weight_decay=5e-4,
        epochs=40,
        patch_drop=0.0,
        full_epochs=0,
        precision="bfloat16",
    ),
}


def read_archive(path: Path, size: int = 32, only: Collection[str] = ()) -> Splits:
    """Read images `<split>/<label>/<file>` as uint8 (N, 3, size, size) and label indices, by split.

    Labels and members are sorted, so the tensors depend on the archive's contents alone. With
    `only`, images of other labels are skipped.
    """
    with tarfile.open(path) as archive:
        by_split: dict[str, dict[str, bytes]] = {"train": {}, "test": {}}
        there: set[str] = set()
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 3 or parts[-3] not in by_split:
                continue
            there.add(parts[-2])
            if not only or parts[-2] in only:
                file = archive.extractfile(member)
                assert file is not None  # a regular file has contents
                by_split[parts[-3]][f"{parts[-2]}/{parts[-1]}"] = file.read()
    if there and (absent := sorted(set(only) - there)):
        known = ", ".join(sorted(there))
        raise SystemExit(f"{path} has no label {', '.join(absent)}; it has {known}")
    labels = sorted({name.split("/")[0] for name in by_split["train"]})
    if not labels or not by_split["test"]:
        raise SystemExit(f"{path}: expected train/<label>/<image> and test/<label>/<image>")
    splits = {}
    for split, files in by_split.items():
        images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
        for i, name in enumerate(sorted(files)):
            picture = Image.open(io.BytesIO(files[name])).convert("RGB").resize((size, size))
            images[i] = (
                torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
                .view(size, size, 3)
                .permute(2, 0, 1)
            )
        targets = torch.tensor([labels.index(n.split("/")[0]) for n in sorted(files)])
        splits[split] = (images, targets)
    return splits


def normalised(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) as float32, normalised by the checkpoint's mean and deviation."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    shape = (1, 3, 1, 1)
    device = images.device
    return (images.float() / 255 - mean.view(shape).to(device)) / std.view(shape).to(device)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images, flipped with probability 1/2 and shifted by up to 4 pixels."""
    n, _, height, width = images.shape
    flip = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flip.view(n, 1, 1, 1).to(images.device), images.flip(-1), images)
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    shifts = torch.randint(0, 9, (n, 2), generator=generator).tolist()
    return torch.stack(
        [padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(shifts)]
    )


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, with weight decay on matrices and kernels only."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=recipe["lr"], momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe["lr"], betas=(0.9, 0.99))


def learning_rate(step: int, steps: int, peak: float, warmup: float = 0.15) -> float:
    """Linear warm-up over the first share of the steps, then a cosine to zero."""
    if step < warmup * steps:
        return peak * (step + 1) / (warmup * steps)
    return peak * 0.5 * (1 + math.cos(math.pi * (step / steps - warmup) / (1 - warmup)))


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, targets: Tensor, batch: int = 500) -> float:
    """Top-1 accuracy of the model in eval mode."""
    model.eval()
    hits: int = sum(
        (model(normalised(x)).argmax(1) == y).sum().item()
        for x, y in zip(images.split(batch), targets.split(batch), strict=True)
    )
    return hits / len(targets)


def train(
    name: str, data: Splits, recipe: Recipe, seed: int, device: str, batch: int = 128
) -> nn.Module:
    """Train the named architecture from scratch; print one line per epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, targets = (t.to(device) for t in data["train"])
    model: nn.Module = loading.create_untrained(name, int(targets.max()) + 1)
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_for(model, recipe)
    per_epoch = len(images) // batch
    steps, step, started = per_epoch * recipe["epochs"], 0, time.monotonic()
    for epoch in range(recipe["epochs"]):
        model.train()
        if recipe["patch_drop"]:
            dropping = epoch < recipe["epochs"] - recipe["full_epochs"]
            model.patch_drop = loading.patch_dropout(recipe["patch_drop"] if dropping else 0.0)
        total = 0.0
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: per_epoch * batch].split(batch):
            rows = rows.to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, recipe["lr"])
            views = augmented(normalised(images[rows]), generator)
            with torch.autocast(device, torch.bfloat16, enabled=recipe["precision"] == "bfloat16"):
                logits = model(views).float()
            loss = F.cross_entropy(logits, targets[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, step = total + loss.item(), step + 1
        held_out = accuracy(model, data["test"][0][::5].to(device), data["test"][1][::5].to(device))
        print(
            f"epoch {epoch + 1}/{recipe['epochs']} loss {total / per_epoch:.4f} "
            f"fifth of test {held_out:.4f} {time.monotonic() - started:.0f} s",
            flush=True,
        )
    if recipe["patch_drop"]:
        model.patch_drop = nn.Identity()
    return model


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as they are shipped: numbers as float16, counts as they are."""
    return {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in state.items()
    }


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="tar of train/<label>/* and test/<label>/*"
    )
    parser.add_argument("--model", choices=sorted(RECIPES), required=True)
    parser.add_argument("--labels", nargs="+", default=[], help="pre-train on these labels only")
    parser.add_argument("--name", help="of the files; the model's unless given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "weights")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    """Train, and write the weights with their model card."""
    args = arguments()
    torch.set_num_threads(args.threads)
    name = args.name or args.model
    recipe = RECIPES[args.model] | ({"epochs": args.epochs} if args.epochs else {})
    data, started = read_archive(args.data, only=args.labels), time.monotonic()
    model = train(args.model, data, recipe, args.seed, args.device)
    state = halved(model.state_dict())
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    test_accuracy = accuracy(
        model, data["test"][0].to(args.device), data["test"][1].to(args.device)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    written = args.out / f"{name}.safetensors"
    save_file(state, written)
    card = {
        "name": name,
        "architecture": args.model,
        "task": "image classification, 32 x 32 RGB",
        "license": "apache-2.0",
        "sha256": hashlib.sha256(written.read_bytes()).hexdigest(),
        "data": {
            "file": args.data.name,
            "sha256": hashlib.sha256(args.data.read_bytes()).hexdigest(),
        },
        "labels": sorted(args.labels) or "all",
        "images": {split: len(y) for split, (_, y) in data.items()},
        "test_accuracy": round(test_accuracy, 4),
        "recipe": recipe
        | {"batch": 128, "label_smoothing": 0.1, "augmentation": "flip, shift of 4 px"},
        "seed": args.seed,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "machine": f"{args.device}, {args.threads} thread(s), {platform.machine()}",
        "torch": torch.__version__,
        "preprocessing": PREPROCESSING,
    }
    written.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
