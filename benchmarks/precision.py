"""Measures answers in 16 bits beside those in float32 and float64.

    make bench-precision           (or: python -m benchmarks.precision --help)

Of shipped backbones, and of backbones of timm with fresh weights: the relative error of the logits
of ten labels and of J·δ, against torch.func.jvp of the whole model in float64, with a δ of a tenth
of the weights' own size. Of components trained on the digits: what rounding does to the accuracy,
the calibration error and the novelty of answers to test images. With --times, also the times of
passes, all in turn in one process. A space that does not open in a format is told as refused.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

import tangent
from app.inference.models import Calibrated, Passed
from app.inference.reliability import Reliability
from benchmarks.accuracy.pictures import handwritten_digits
from benchmarks.interleaved import RESULTS, machine, timed
from benchmarks.serving import FOLDED, NARROW, PLAIN, answer, direction, fresh, plain_ways
from tangent.backbones.casting import cast
from tangent.backbones.loading import Backbone, shipped_backbones, wrap
from tangent.composition.calibration import Calibration, calibrated
from tangent.composition.leave_one_out import Copy
from tangent.errors import UnsupportedModel
from tangent.jvp.functional import Generic
from tangent.spaces.answering import CHUNK
from tangent.spaces.devices import device_of
from tangent.spaces.precision import PRECISIONS
from tangent.vocabulary import PrecisionName

MODELS = (
    *("vit_micro_32", "resnet_micro_32", "tf_efficientnet_lite0"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "resnet50"),
    *("convnext_atto", "swin_tiny_patch4_window7_224", "mixer_s16_224"),
)
BLOCKS = ("last-block", "all")
LABELS = tuple("abcdefghij")
WHAT = ("logits", "derivative")
NEW = 0.95  # of novelty
PHRASE = "{} pass, {}"


def backbone_of(name: str, device: torch.device) -> Backbone:
    """Return the shipped backbone, or timm's with seeded weights on the device."""
    if name in shipped_backbones():
        return tangent.load_backbone(name)
    return wrap(name, fresh(name, device))


def space_of(
    backbone: Backbone, scope: str, device: torch.device, precision: str = "float32"
) -> tangent.Space:
    """Return a space over the backbone on the device, whereto it moves the backbone."""
    return tangent.Space(backbone, scope, device=str(device), precision=precision)


def spaces(
    name: str, scope: str, device: torch.device
) -> Iterator[tuple[PrecisionName, tangent.Space | None]]:
    """Yield a space in every format, each over a backbone of its own; None where it is refused."""
    for precision in PRECISIONS:
        try:
            yield precision, space_of(backbone_of(name, device), scope, device, precision)
        except UnsupportedModel:
            yield precision, None


def noise(backbone: Backbone, count: int) -> Tensor:
    """Return images of normal noise."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, backbone.image_size, backbone.image_size, generator=generator)


def errors(name: str, scope: str, count: int, device: torch.device) -> dict[str, Any]:
    """Return the relative errors of a model's answers to noise, in every format."""
    exact = space_of(cast(backbone_of(name, device), torch.float64), scope, device)
    assert exact.suffix is not None
    images = noise(exact.pretrained, count).to(device)
    general, delta = Generic(exact.suffix, "the judge"), direction(exact.suffix)
    phi, (along,) = general.push(general.rows(images.double()), [general.prepare(delta)])
    rows = exact.base_rows(LABELS)[:, :-1].to(device)
    logits = (phi + along) @ rows.T
    found: dict[str, Any] = {"model": name, "scope": scope}
    for precision, space in spaces(name, scope, device):
        if space is None:
            found[precision] = None
            continue
        engine = space.answerer
        assert engine is not None
        moved = {key: value.float() for key, value in delta.items()}
        own, (pushed,) = engine.push(engine.rows(images), [engine.prepare(moved)])
        answered = (own.double() + pushed.double()) @ rows.T
        found[precision] = {
            "logits": relative(answered, logits),
            "derivative": relative(pushed.double(), along),
        }
    return found


def relative(found: Tensor, expected: Tensor) -> float | None:
    """Return the difference's Euclidean norm over the expected one; None where that is 0."""
    norm = expected.norm()
    return ((found - expected).norm() / norm).item() if norm else None


class Trained(NamedTuple):
    """A component of the digits in the space of float32, and its calibration."""

    space: tangent.Space
    delta: tangent.Delta
    calibration: Calibration


def trained(backbone: str, scope: str, some: int, device: torch.device) -> Trained:
    """Train on all training images, calibrate by some of them."""
    space, data = space_of(backbone_of(backbone, device), scope, device), handwritten_digits().train
    images = torch.stack([space.preprocess(image) for image in data[0]])
    with tempfile.TemporaryDirectory() as folder:
        given = tangent.Hyperparameters.resolve(scope, {})
        held = Held(images.to(device), data[1])
        fitted = tangent.fit(space, held, given, scratch=Path(folder))
    parts = [(fitted.component, None)]
    delta = tangent.compose(space, parts, "joint", shas=["of the only component"])
    chosen = np.random.default_rng(0).permutation(len(images))[:some].tolist()
    psi = space.readout_alone(images[chosen])
    copies = [[Copy(0, data[1][i])] for i in chosen]
    return Trained(space, delta, calibrated(space, parts, "joint", psi, copies))


class Held:
    """Labelled images in memory."""

    def __init__(self, images: Tensor, labels: Sequence[str]) -> None:
        self.images, self.labels = images, list(labels)

    def batches(self, size: int) -> Any:
        """Yield the images in batches."""
        return iter(self.images.split(size))


def answers(
    backbone: str, scope: str, calibrating: int, asked: int, device: torch.device
) -> dict[str, Any]:
    """Return what test images are answered in every format."""
    about = trained(backbone, scope, calibrating, device)
    pictures, names = handwritten_digits().test
    images = torch.stack([about.space.preprocess(image) for image in pictures[:asked]])
    found: dict[str, Any] = {"backbone": backbone, "scope": scope, "images": len(images)}
    for precision, space in spaces(backbone, scope, device):
        if space is not None:
            pairs = space.answers_of_own(images, [about.delta], [0] * len(images))
            found[precision] = judged(about, pairs, names[:asked])
    return found


def judged(
    about: Trained, pairs: Sequence[tuple[Tensor, Tensor]], truth: Sequence[str]
) -> dict[str, float]:
    """Return accuracy, calibration error and the share of images that count as new."""
    made, labels = about.calibration, about.delta.labels
    assert made.leverage is not None
    logits = torch.stack([row for row, _ in pairs]).numpy()
    novelty = made.novelty(made.leverage.of(torch.stack([psi for _, psi in pairs])))
    reliability = Reliability()
    facts = Calibrated(made.images, made.temperature, None, None)
    reliability.add(Passed(labels, logits, 0.0, 0.0, 0.0, facts), truth)
    result = reliability.result()
    assert result is not None
    right = np.array(labels)[logits.argmax(1)] == np.array(truth)
    return {
        "accuracy": float(right.mean()),
        "calibration_error": float(result["expected_calibration_error"]),
        "negative_log_likelihood": float(result["negative_log_likelihood"]),
        "above": float((novelty > NEW).double().mean()),
    }


def times(name: str, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the seconds of plain passes and of answers at the last block, in each format."""
    ways: dict[str, Callable[[], object]] = {}
    for precision, space in spaces(name, "last-block", device):
        if space is None:
            continue
        engine, images = space.answerer, noise(space.pretrained, batch).to(device)
        assert engine is not None and space.suffix is not None
        if PRECISIONS[precision] is None:
            ways |= plain_ways(space.model, images)
        prepared = [engine.prepare(direction(space.suffix))]
        ways[PHRASE.format("tangent", precision)] = answer(engine, images, prepared)
    return {"model": name, "batch": batch, "seconds": timed(ways, rounds)}


def error_rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the relative errors as a table, the head first."""
    names = list(PRECISIONS)
    rows = [["model", "scope", *(f"logits, {n}" for n in names), *(f"J·δ, {n}" for n in names)]]
    for each in found:
        told = [(each[name], what) for what in WHAT for name in names]
        errors_of = ["refused" if own is None else _error(own[what]) for own, what in told]
        rows.append([f"`{each['model']}`", f"`{each['scope']}`", *errors_of])
    return rows


def _error(relative: float | None) -> str:
    return "–" if relative is None else f"{relative:.1e}"


def answer_rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return what rounding does to answers as a table, the head first."""
    head = ["backbone", "scope", "format", "images", "right", "calibration error"]
    rows = [[*head, "negative log-likelihood", f"novelty above {NEW}"]]
    for each in found:
        for name in (name for name in PRECISIONS if name in each):
            own = each[name]
            about = [f"`{each['backbone']}`", f"`{each['scope']}`", name, str(each["images"])]
            shares = [f"{100 * own['accuracy']:.1f} %", f"{own['calibration_error']:.3f}"]
            rows.append(
                [
                    *about,
                    *shares,
                    f"{own['negative_log_likelihood']:.4f}",
                    f"{100 * own['above']:.1f} %",
                ]
            )
    return rows


def time_rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return each pass's time over that of the plain pass in float32, the head first.

    The last column has the quickest answer's time over that of the quickest plain pass.
    """
    own = [PHRASE.format("tangent", name) for name in PRECISIONS]
    plain = [FOLDED, *(NARROW.format(way) for way in (PLAIN, FOLDED))]
    rows = [["model", "batch", *plain, *own, "quickest tangent / quickest plain"]]
    for each in found:
        seconds = each["seconds"]
        base = seconds[PLAIN]
        ratios = [f"{seconds[way] / base:.2f}" if way in seconds else "–" for way in plain]
        ratios += [f"{seconds[way] / base:.2f}" if way in seconds else "refused" for way in own]
        quickest = [min(seconds.get(w, float("inf")) for w in ways) for ways in (own, plain)]
        against = quickest[0] / min(quickest[1], base)
        rows.append([f"`{each['model']}`", str(each["batch"]), *ratios, f"{against:.2f}"])
    return rows


def measured(
    args: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every measurement with its kind."""
    for name in args.models:
        for scope in BLOCKS:
            yield "errors", errors(name, scope, args.images, device)
    for backbone in args.backbones:
        for scope in args.scopes:
            yield "answers", answers(backbone, scope, 256, args.test, device)
    for name in args.models if args.times else ():
        yield "times", times(name, args.batch, args.rounds, device)


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the numbers, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--backbones", nargs="*", default=["resnet_micro_32", "vit_micro_32"])
    parser.add_argument("--scopes", nargs="+", default=["head2toe", "head"])
    parser.add_argument("--images", type=int, default=2, help="of noise, a model")
    parser.add_argument("--test", type=int, default=300, help="digits that are asked about")
    parser.add_argument("--times", action="store_true", help="on a machine with nothing else to do")
    parser.add_argument("--batch", type=int, default=CHUNK // 4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or the GPU if there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--save", type=Path, default=RESULTS / "precision.json")
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    device, console = device_of(args.device, tf32=False), Console()
    about: dict[str, Any] = {"machine": machine(args.threads, device), "images": args.images}
    for kind, found in measured(args, device):
        about.setdefault(kind, []).append(found)
        console.print(found, soft_wrap=True)
        args.save.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
