"""A scan of timm's architectures: the engine of each against `torch.func.jvp`, in both float types.

    python -m benchmarks.architectures            (or: --only resnet18,swin_tiny_patch4_window7_224)

Weights are random with every parameter and statistic redrawn, so that nothing is trivially zero. A
*difference* is an answer by the rules engine whose features or derivative differ from those of
`torch.func.jvp` by more than rounding and kinks explain, along a direction that the engine's own
check has not used. Where the generic engine answers, it is torch's own derivative: a case that
differs in float32 all the same is *noisy*, as rounding alone makes so much. A *crash* is any error
but the project's own.
"""

import argparse
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from tangent.backbones import loading
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.errors import TangentError
from tangent.spaces.space import Space

A_MODULE = 2  # architectures of each of timm's modules, the smallest first
LOOKED_AT = 20  # names of a module that are weighed, the shortest first
SIDE = 96  # of an image, where the model takes any size
MAX_PARAMETERS = 30_000_000
MAX_SECONDS = 120  # of the processor, for one case
SCOPES = ("last-block", "all")
DTYPES = (torch.float32, torch.float64)
# Relative. In float32 a pre-activation near 0 falls on either side of a kink, and each side has a
# derivative of its own: float32 shows gross faults, float64 is the proof.
BOUNDS = {torch.float32: (1e-4, 5e-2), torch.float64: (1e-6, 1e-6)}


class TooSlow(Exception):
    """A case did not end within its time."""


def main() -> None:
    """Print one line a case and the counts; exit with 1 if a case differs or crashes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--count", type=int, default=150, help="architectures, spread over modules")
    parser.add_argument("--json", help="write the cases here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cases: list[dict[str, Any]] = []
    for name in given.only or architectures(given.count):
        for scope in SCOPES:
            for dtype in DTYPES:
                case = {"architecture": name, "scope": scope, "dtype": str(dtype)[6:]}
                case |= tried(name, scope, dtype)
                cases.append(case)
                print(" ".join(f"{value}" for value in case.values()), flush=True)
    counts = Counter(case["outcome"] for case in cases)
    print(
        f"{len(cases)} cases of {len({c['architecture'] for c in cases})} architectures:", end=" "
    )
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    if given.json:
        with open(given.json, "w") as file:
            json.dump(cases, file, indent=1)
    sys.exit(1 if counts["differs"] or counts["crashed"] else 0)


def architectures(count: int) -> list[str]:
    """Return small architectures of each of timm's modules, at most `count`."""
    rounds: list[list[str]] = [[] for _ in range(A_MODULE)]
    for names in loading.architectures().values():
        names = sorted(names, key=lambda name: (len(name), name))[:LOOKED_AT]
        names.sort(key=lambda name: (_size(name), name))
        names = [name for name in names if name not in loading.shipped_backbones()]
        for place, name in zip(rounds, names, strict=False):
            if _size(name) <= MAX_PARAMETERS:
                place.append(name)
    return [name for place in rounds for name in place][:count]


def _size(name: str, known: dict[str, float] = {}) -> float:  # noqa: B006 (a cache)
    if name not in known:
        try:
            with torch.device("meta"):
                known[name] = sum(p.numel() for p in create_untrained(name, 0).parameters())
        except Exception:  # what cannot be made without memory is not small
            known[name] = float("inf")
    return known[name]


def tried(name: str, scope: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return the outcome of one case, and its errors or the reason."""
    try:
        with _limited(MAX_SECONDS):
            return compared(name, scope, dtype)
    except TangentError as error:
        return {"outcome": "refused", "reason": str(error)}
    except TooSlow:
        return {"outcome": "slow", "reason": f"over {MAX_SECONDS} s"}
    except Exception as error:  # a crash is what the scan looks for
        return {"outcome": "crashed", "reason": f"{type(error).__name__}: {error}"[:200]}


def compared(name: str, scope: str, dtype: torch.dtype) -> dict[str, Any]:
    """Compare the space's own answers along two directions with those of torch.func."""
    torch.manual_seed(0)
    model = redrawn(create_untrained(name, 0)).to(dtype)
    twin = deepcopy(model).requires_grad_(False)  # in torch's own memory format
    space = Space(small(name, model), scope)
    assert space.suffix is not None and space.engine is not None
    images = torch.rand(2, 3, space.image_size, space.image_size, dtype=dtype)
    engine, gaps = space.engine, (0.0, 0.0)
    rows = engine.rows(images)
    for seed in (1, 2):
        direction = drawn(space.suffix.base, seed)
        phi, (along,) = engine.push(rows, [engine.prepare(direction)])
        own = derivative(deepcopy(twin), direction, images)  # a copy has no caches of a pass
        gaps = max(gaps[0], gap(phi, own[0])), max(gaps[1], gap(along, own[1]))
    bounds = BOUNDS[dtype]
    same = gaps[0] <= bounds[0] and gaps[1] <= bounds[1]
    told = f"{engine.name} features {gaps[0]:.1e} derivative {gaps[1]:.1e}"
    reason = "" if engine.name == "rules" else f" ({engine.reason})"
    is_noise = engine.name != "rules" and dtype is torch.float32
    outcome = "agrees" if same else "noisy" if is_noise else "differs"
    return {"outcome": outcome, "reason": told + reason}


def small(name: str, model: nn.Module) -> Backbone:
    """Wrap the model for images of SIDE pixels if it takes any size, else of its own size."""
    fixed = (getattr(model, "pretrained_cfg", None) or {}).get("fixed_input_size", True)
    if not fixed:
        try:
            return wrap(name, model, {"input_size": (3, SIDE, SIDE)})
        except (
            RuntimeError,
            AssertionError,
            ValueError,
        ):  # its windows or strides do not fit into so small an image
            pass
    return wrap(name, model)


def redrawn(model: nn.Module) -> nn.Module:
    """Redraw every parameter near its own size, and every running statistic."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        scale = parameter.data.std(correction=0) * 0.7 + 0.02
        parameter.data += scale * torch.randn(parameter.shape, generator=generator)
    for key, buffer in model.named_buffers():
        if re.search(r"running_(mean|var)$", key):
            noise = torch.rand(buffer.shape, generator=generator)
            buffer.copy_(noise * 0.2 + (0.9 if key.endswith("var") else 0.0))
    return model.eval()


def drawn(base: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return a direction as large as the parameters."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator).to(p) * (p.square().mean().sqrt() + 1e-3)
        for name, p in base.items()
    }


def derivative(
    model: nn.Module, direction: dict[str, Tensor], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Return phi and J·direction of the whole model by torch.func, without the suffix.

    Where an operation of torch has no forward derivative, two reverse passes give it.
    """
    base = {name: dict(model.named_parameters())[name].detach() for name in direction}
    held = [(module, dict(module._parameters)) for module in model.modules()]

    def features(*values: Tensor) -> Tensor:
        return functional_call(model, dict(zip(base, values, strict=True)), (images,))

    points, along = tuple(base.values()), tuple(direction[name] for name in base)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            try:
                with torch.no_grad():
                    return jvp(features, points, along)[:2]
            except RuntimeError:
                return torch.autograd.functional.jvp(features, points, along)
    finally:
        for module, own in held:
            module._parameters.update(own)


def gap(found: Tensor, expected: Tensor) -> float:
    """Return the relative distance in the Euclidean norm."""
    return ((found - expected).norm() / expected.norm().clamp_min(1e-300)).item()


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


if __name__ == "__main__":
    main()
