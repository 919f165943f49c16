"""Measures what a tangent answer costs next to plain passes of the same model.

    make bench-serving             (or: python -m benchmarks.serving --help)

Backbones of timm with fresh weights and batch statistics of order one, images of 224 px, from an
archive or noise. Every figure is the median time divided by that of timm's plain forward pass of
the same batch, all ways in turn in one process. The *products alone* of a pass are its matrix
products and convolutions run again without all the rest: no way of computing them takes less.
"""

import argparse
import copy
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.interleaved import RESULTS, machine, timed
from benchmarks.products import recorded
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose
from tangent.jvp.engine import Answerer, Tangent
from tangent.jvp.functional import Generic
from tangent.jvp.groups import push_by_groups
from tangent.spaces.devices import device_of

PLAIN = "plain forward, eager"
FOLDED = "plain, norms folded, channels last"
NARROW = "{}, bfloat16"  # the same pass by a rounded copy
ALONE = "{}: its products alone"
SCOPES = ("all", "last-3-blocks", "last-block")
MANY, MEMBERS = 32, 10
MANY_OF_ONE = f"{MANY} compositions, one image, last-block"
ONE_OF_ONE = "one composition, one image, last-block"
OWN = "each image its own composition, last-block"
GROUPS = "each image its own composition, a pass for each, last-block"
REACH = {
    ("vit", "all"): 2.6,
    ("vit", "last-3-blocks"): 1.25,
    ("vit", "last-block"): 0.95,
    ("resnet", "all"): 2.3,
    ("vit", MANY_OF_ONE): 1.3,
}


def photographs(path: Path | None, backbone: Backbone, count: int) -> Tensor:
    """The first images of a tar, preprocessed and repeated as needed; noise without a tar."""
    if path is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, 3, backbone.image_size, backbone.image_size, generator=generator)
    with tarfile.open(path) as archive:
        files = [archive.extractfile(m) for m in archive if m.isfile()]
        pictures = [Image.open(io.BytesIO(f.read())).convert("RGB") for f in files if f]
    images = torch.stack([backbone.preprocess(picture) for picture in pictures[:count]])
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count]


def fresh(name: str, device: torch.device | str) -> nn.Module:
    """The architecture with seeded weights; running variances as after training, of order one."""
    torch.manual_seed(0)
    model = create_untrained(name, 0).eval().requires_grad_(False)
    for key, buffer in model.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model.to(device)


def direction(suffix: Suffix, seed: int = 0) -> Tangent:
    """A tenth of the parameters' own size."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(p.shape, generator=generator) * 0.1).to(p) * p.square().mean().sqrt()
        for name, p in suffix.base.items()
    }


def dual_numbers(model: nn.Module, delta: Tangent, x: Tensor) -> Tensor:
    """J·delta by torch.autograd.forward_ad."""
    base = dict(model.named_parameters())
    with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        duals = {name: forward_ad.make_dual(base[name].detach(), d) for name, d in delta.items()}
        return forward_ad.unpack_dual(functional_call(model, duals, (x,))).tangent


def answer(engine: Answerer, x: Tensor, prepared: list[Any]) -> Callable[[], object]:
    """A tangent answer from images on, the prefix included."""
    return lambda: engine.push(engine.rows(x), prepared)


def plain(model: nn.Module, x: Tensor, times: int = 1) -> Callable[[], object]:
    """Forward passes, one after the other."""

    @torch.no_grad()
    def run() -> None:
        for _ in range(times):
            model(x)

    return run


def plain_ways(model: nn.Module, x: Tensor) -> dict[str, Callable]:
    """Return the plain passes that an answer has to stand beside."""
    found = {
        PLAIN: plain(model, x),
        NARROW.format(PLAIN): plain(copy.deepcopy(model).bfloat16(), x.bfloat16()),
    }
    folded = with_folded_norms(model)
    if folded is not None:
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = x.contiguous(memory_format=torch.channels_last)
        found[FOLDED] = plain(folded, last)
        found[NARROW.format(FOLDED)] = plain(copy.deepcopy(folded).bfloat16(), last.bfloat16())
    return found


def with_folded_norms(model: nn.Module) -> nn.Module | None:
    """Return a copy whose batch norms are part of the convolutions; None where torch makes none."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return None
    from torch.fx.experimental.optimization import fuse  # its import warns
    from torch.fx.proxy import TraceError

    try:
        folded: nn.Module = fuse(copy.deepcopy(model))
    except TraceError:  # where a layer's way depends on the size of its input
        return None
    return folded


def shared_prefix(suffix: Suffix, x: Tensor, members: int) -> Callable[[], object]:
    """An ensemble whose members differ in the suffix only: one prefix, many plain suffixes."""

    @torch.no_grad()
    def run() -> None:
        activation = suffix.activation(x)
        for _ in range(members):
            suffix.run(activation)

    return run


def last_block_ways(suffix: Suffix, engine: Answerer, x: Tensor) -> dict[str, Callable]:
    """Answers by many compositions, and by models that share the prefix."""
    many = [engine.prepare(direction(suffix, seed)) for seed in range(MANY)]
    own = [at % MANY for at in range(len(x))]
    return {
        f"{MEMBERS} models sharing the prefix, last-block": shared_prefix(suffix, x, MEMBERS),
        MANY_OF_ONE: answer(engine, x[:1], many),
        ONE_OF_ONE: answer(engine, x[:1], many[:1]),
        OWN: lambda: engine.push_own(engine.rows(x), many, own),
        GROUPS: lambda: push_by_groups(engine, engine.rows(x), many, own),
    }


def ways(
    name: str, batch: int, photos: Path | None, device: torch.device
) -> tuple[dict[str, Callable], dict[str, int]]:
    """Everything that is timed for one model and batch, and multiplications of some passes."""
    model = fresh(name, device)
    small = {"input_size": (3, 32, 32)} if name.endswith("_32") else None  # the shipped ones
    backbone = wrap(name, copy.deepcopy(model), small)
    x = photographs(photos, backbone, batch).to(device)
    found = plain_ways(model, x)
    for scope in SCOPES:
        suffix = Suffix(backbone, tangent_parameters(backbone.model, scope))
        engine, delta = choose(suffix), direction(suffix)
        found[scope] = answer(engine, x, [engine.prepare(delta)])
        if scope == "all":
            general = Generic(suffix, "the baseline")
            found["torch.func.jvp, all"] = answer(general, x, [general.prepare(delta)])
            found["torch.autograd.forward_ad, all"] = lambda d=delta: dual_numbers(model, d, x)
        if scope == "last-block":
            found |= last_block_ways(suffix, engine, x)
    multiplied = {}
    for way in (PLAIN, *SCOPES):
        products = recorded(found[way])
        found[ALONE.format(way)] = products.again()
        multiplied[way] = products.multiplications
    found[f"{MEMBERS} plain models"] = plain(model, x, MEMBERS)
    found["plain forward, one image"] = plain(model, x[:1])
    return found, multiplied


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Times in plain passes of the same batch; those of one image, in passes of one image."""
    alone = seconds["plain forward, one image"]
    return {
        name: value / (alone if "one image" in name else seconds[PLAIN])
        for name, value in seconds.items()
    }


def show(
    name: str,
    batch: int,
    found: dict[str, float],
    multiplied: dict[str, int],
    seconds: float,
    console: Any,
) -> None:
    """Print one table of ratios with their reaches."""
    from rich.table import Table  # a bare GPU machine has no rich, and measures without tables

    table = Table(title=f"{name}, batch {batch}: plain forward {seconds * 1e3:.0f} ms")
    for column in ("way", "plain passes", "reach"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, ratio in found.items():
        reach = REACH.get((name[:3] if name.startswith("vit") else name[:6], way))
        table.add_row(way, f"{ratio:.2f}", f"≤ {reach}" if reach else "")
    faster = found["torch.func.jvp, all"] / found["all"]
    table.add_row("torch.func.jvp / ours, all", f"{faster:.2f}", "≥ 1.5")
    for scope, least in (("all", "≥ 3.5"), ("last-block", "≥ 10")):
        against = found[f"{MEMBERS} plain models"] / found[scope]
        table.add_row(f"{MEMBERS} plain models / ours, {scope}", f"{against:.2f}", least)
    for title, way, one in (
        (f"{MANY} compositions of one image / one composition", MANY_OF_ONE, ONE_OF_ONE),
        ("each image its own composition / one for all", OWN, "last-block"),
        ("each image its own, in a pass for each / one for all", GROUPS, "last-block"),
    ):
        table.add_row(title, f"{found[way] / found[one]:.2f}", "")
    for scope in SCOPES:
        table.add_row(f"{scope}: pass / its products alone", f"{beyond(found, scope):.2f}", "")
        times = multiplied[scope] / multiplied[PLAIN]
        table.add_row(f"{scope}: multiplications, in plain passes", f"{times:.2f}", "")
    table.add_row("plain: pass / its products alone", f"{beyond(found, PLAIN):.2f}", "")
    console.print(table)


def beyond(found: dict[str, float], way: str) -> float:
    """Return a pass's time over that of its products alone."""
    return found[way] / found[ALONE.format(way)]


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the results."""
    from rich.console import Console

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["vit_tiny_patch16_224", "vit_small_patch16_224", "resnet18", "resnet50"],
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=Path, help="tar of photographs; noise without")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", help="cpu, cuda, or the GPU if there is one")
    parser.add_argument("--json", type=Path, default=RESULTS / "serving.json")
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    device = device_of(args.device, tf32=False)
    console, found = Console(), []
    console.print(machine(args.threads, device))
    for name in args.models:
        for batch in args.batches:
            timings, multiplied = ways(name, batch, args.photos, device)
            seconds = timed(timings, args.rounds)
            figures = ratios(seconds)
            show(name, batch, figures, multiplied, seconds[PLAIN], console)
            found.append(
                {
                    "model": name,
                    "batch": batch,
                    "seconds": seconds,
                    "ratios": figures,
                    "multiplications": multiplied,
                }
            )
    about = {"machine": machine(args.threads, device), "rounds": args.rounds, "results": found}
    args.json.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
