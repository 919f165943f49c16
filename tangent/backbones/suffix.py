"""The backbone from its first tangent parameter on: the part that tangents pass through.

Everything before it is a frozen prefix, which runs once without tangents. Its output, the
*activation*, can be cached for each training image. The split works for any timm model and is
verified when it is made.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tangent.backbones.loading import Backbone

Tangent = dict[str, Tensor]  # parameter name -> direction


class Suffix:
    """`phi` as a function of the activation and the tangent parameters.

    Not thread-safe: an activation is replayed through a hook of the model.
    """

    def __init__(
        self, backbone: Backbone, names: list[str], exact: nn.Module | None = None
    ) -> None:
        """`names`: the tangent parameters; `exact`: the model before its weights were rounded."""
        self.model = backbone.model
        self.exact = _named(exact or self.model)  # engines fold these, and then round once
        every = dict(self.model.named_parameters())
        self.parameters = {name: every[name] for name in names}
        self.base = {name: p.detach() for name, p in self.parameters.items()}
        first = next(iter(every.values()))
        size = backbone.image_size
        generator = torch.Generator().manual_seed(0)
        self.probe = torch.rand(3, 3, size, size, generator=generator).to(first)
        self._dummy = torch.zeros(1, 3, size, size).to(first)
        self._skipped: dict[nn.Module, Any] = {}  # modules of the prefix -> output for the dummy
        self.entry = self._entry(self.probe)
        self._overwrites = self._writes_on_its_activation()

    def activation(self, images: Tensor) -> Tensor:
        """The input of the first tangent module; the images where no prefix can be split off."""
        if self.entry is None:
            return images
        with torch.no_grad():
            return _input_of(self.model, self.entry, images).to(images.dtype)

    @cached_property
    def is_whole(self) -> bool:
        """True if nothing comes before it: the activation is the images themselves."""
        return self.activation(self.probe).data_ptr() == self.probe.data_ptr()

    def run(self, activation: Tensor) -> Tensor:
        """Return phi, by the model's own code on its own parameters."""
        if self._overwrites:
            activation = activation.clone()
        if self.entry is None:
            return cast(Tensor, self.model(activation))
        with self._replayed(self.entry, activation):
            return cast(Tensor, self.model(self._dummy))

    def features(self, parameters: Tangent, activation: Tensor) -> Tensor:
        """Return phi with these tangent parameters instead of the base's; it is differentiable."""
        if self._overwrites:
            activation = activation.clone()
        with _same_parameters(self.model):
            if self.entry is None:
                return cast(Tensor, functional_call(self.model, parameters, (activation,)))
            with self._replayed(self.entry, activation):
                return cast(Tensor, functional_call(self.model, parameters, (self._dummy,)))

    def vjp(self, activation: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        """Return phi and Jᵀ·cotangent, summed over the batch, at the base parameters."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.base.items()}
        with torch.enable_grad():
            features = self.features(leaves, activation)
            grads = torch.autograd.grad(
                features, list(leaves.values()), cotangent, allow_unused=True
            )
        pairs = zip(leaves.items(), grads, strict=True)
        tangent = {k: torch.zeros_like(leaf) if g is None else g for (k, leaf), g in pairs}
        return features.detach(), tangent

    def _entry(self, probe: Tensor) -> nn.Module | None:
        """The first tangent module if replaying its input gives the same output, else None."""
        candidate = self._first_tangent_module(probe)
        if candidate is None:
            return None
        try:
            with torch.no_grad():
                whole = self.model(probe)
                activation = _input_of(self.model, candidate, probe)
                self._skipped = _finished_before(self.model, candidate, self._dummy)
                with self._replayed(candidate, activation):
                    replayed = self.model(self._dummy)
        except (RuntimeError, TypeError):
            return None
        return candidate if torch.equal(whole, replayed) else None

    def _writes_on_its_activation(self) -> bool:
        """True if the model changes its activation in place, so that a pass needs a copy."""
        self._overwrites = False
        with torch.no_grad():
            activation = self.activation(self.probe).clone()
            before = activation._version
            self.run(activation)
        return activation._version != before

    def _first_tangent_module(self, probe: Tensor) -> nn.Module | None:
        """The outermost wholly tangent module around the first tangent module to run."""
        entered: list[str] = []
        hooks = [
            module.register_forward_pre_hook(lambda _m, _a, name=name: entered.append(name))
            for name, module in self.model.named_modules()
        ]
        with _removed(hooks), torch.no_grad():
            self.model(probe)
        all_names = [name for name, _ in self.model.named_parameters()]

        def wholly_tangent(module: str) -> bool:
            inside = [name for name in all_names if name.startswith(module + ".")]
            return bool(inside) and all(name in self.base for name in inside)

        first = next((name for name in entered if wholly_tangent(name)), None)
        owners = {name.rpartition(".")[0] for name in self.base}
        earliest = next((name for name in entered if name in owners), None)
        if first is None or earliest is None or not f"{earliest}.".startswith(f"{first}."):
            return None  # a tangent parameter is used before `first`, or outside every module
        return self.model.get_submodule(first)

    @contextmanager
    def _replayed(self, module: nn.Module, activation: Tensor) -> Iterator[None]:
        """Within the block, feed the module the activation; earlier modules repeat their output."""

        def replay(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (activation, *arguments[1:])

        with ExitStack() as stack:
            for skipped, output in self._skipped.items():
                stack.enter_context(running_instead(skipped, lambda *_, given=output: given))
            stack.enter_context(_removed([module.register_forward_pre_hook(replay)]))
            yield


def _named(model: nn.Module) -> Tangent:
    """The model's parameters and buffers by their names."""
    return {name: p.detach() for name, p in chain(model.named_parameters(), model.named_buffers())}


@contextmanager
def _same_parameters(model: nn.Module) -> Iterator[None]:
    """Restore the model's own parameters after the block.

    `functional_call` leaves its tensors in a module that the model registers under several names.
    """
    held = [(module, dict(module._parameters)) for module in model.modules()]
    try:
        yield
    finally:
        for module, own in held:
            module._parameters.update(own)


@contextmanager
def running_instead(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block, replace the module's forward by this function."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # the forward of its class is back


@contextmanager
def _removed(handles: list[Any]) -> Iterator[None]:
    """Remove these hooks after the block."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):
    """Carries the activation out of a forward pass whose rest is not needed."""

    def __init__(self, activation: Tensor) -> None:
        self.activation = activation


def _input_of(model: nn.Module, module: nn.Module, images: Tensor) -> Tensor:
    """Return the module's only input, running the model on the images up to there."""

    def stop(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments) != 1 or not isinstance(arguments[0], Tensor):
            raise TypeError("the arguments are not one tensor")
        raise _Reached(arguments[0])

    with _removed([module.register_forward_pre_hook(stop)]):
        try:
            model(images)
        except _Reached as reached:
            return reached.activation
    raise RuntimeError(f"{type(module).__name__} was not reached")


def _finished_before(model: nn.Module, module: nn.Module, images: Tensor) -> dict[nn.Module, Any]:
    """The outermost modules that ran once and finished before `module`, with their outputs."""
    open_calls: list[nn.Module] = []
    done: list[tuple[nn.Module, nn.Module | None, Any]] = []  # with the caller and the output

    def enter(entered: nn.Module, _arguments: tuple[Any, ...]) -> None:
        if entered is module:
            raise _Reached(images)
        open_calls.append(entered)

    def leave(left: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        open_calls.pop()
        done.append((left, open_calls[-1] if open_calls else None, output))

    hooks: list[Any] = []
    for part in model.modules():
        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    with _removed(hooks), suppress(_Reached):
        model(images)
    calls = [called for called, _, _ in done]
    return {m: out for m, caller, out in done if caller in open_calls and calls.count(m) == 1}
