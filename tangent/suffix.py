"""The backbone from the first tangent parameter on: the part that a tangent passes through.

Everything before it is a frozen prefix, run once and plainly; its output, the *activation*, can be
cached for each training image. The split works for any timm model and is verified when it is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from tangent.backbone import Backbone, use_plain_attention

Tangent = dict[str, Tensor]  # parameter name -> direction


class Suffix:
    """`phi` as a function of the activation and of the tangent parameters.

    Not safe for two threads at once: an activation is replayed through a hook of the model.
    """

    def __init__(self, backbone: Backbone, names: list[str]) -> None:
        """`names`: the tangent parameters."""
        self.model = backbone.model
        use_plain_attention(self.model)
        parameters = dict(self.model.named_parameters())
        self.base = {name: parameters[name].detach() for name in names}
        first = next(iter(parameters.values()))
        size = backbone.image_size
        generator = torch.Generator().manual_seed(0)
        probe = torch.rand(3, 3, size, size, generator=generator).to(first)
        self._dummy = torch.zeros(1, 3, size, size).to(first)
        self.entry = self._entry(probe)

    def activation(self, images: Tensor) -> Tensor:
        """What enters the first tangent module; the images where no prefix can be split off."""
        if self.entry is None:
            return images
        return self._capture(self.entry, images)

    def features(self, parameters: Tangent, activation: Tensor) -> Tensor:
        """phi with the given tangent parameters instead of the base's; differentiable in them."""
        with sdpa_kernel(SDPBackend.MATH):
            if self.entry is None:
                return functional_call(self.model, parameters, (activation,))
            with self._replayed(self.entry, activation):
                return functional_call(self.model, parameters, (self._dummy,))

    def jvp(self, activation: Tensor, tangent: Tangent) -> tuple[Tensor, Tensor]:
        """phi and its directional derivative J·tangent at the base parameters, in one pass."""
        tangent = {name: tangent[name] for name in self.base}  # torch insists on one order
        phi, along = jvp(lambda p: self.features(p, activation), (self.base,), (tangent,))[:2]
        return phi, along

    def vjp(self, activation: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        """phi and Jᵀ·cotangent at the base parameters, summed over the batch: back-propagation."""
        leaves = {name: p.clone().requires_grad_() for name, p in self.base.items()}
        with torch.enable_grad():
            features = self.features(leaves, activation)
            grads = torch.autograd.grad(
                features, list(leaves.values()), cotangent, allow_unused=True
            )
        found = zip(leaves.items(), grads, strict=True)
        tangent = {k: torch.zeros_like(leaf) if g is None else g for (k, leaf), g in found}
        return features.detach(), tangent

    def _entry(self, probe: Tensor) -> nn.Module | None:
        """The module where a tangent first arises, if replaying its input gives the same output."""
        candidate = self._first_tangent_module(probe)
        if candidate is None:
            return None
        try:
            with torch.no_grad():
                whole = self.model(probe)
                activation = self._capture(candidate, probe)
                with self._replayed(candidate, activation):
                    replayed = self.model(self._dummy)
        except (RuntimeError, TypeError):
            return None
        return candidate if torch.equal(whole, replayed) else None

    def _first_tangent_module(self, probe: Tensor) -> nn.Module | None:
        """Of the wholly tangent modules, the outermost one around the first to run."""
        entered: list[str] = []
        hooks = [
            module.register_forward_pre_hook(lambda _m, _a, name=name: entered.append(name))
            for name, module in self.model.named_modules()
        ]
        try:
            with torch.no_grad():
                self.model(probe)
        finally:
            for hook in hooks:
                hook.remove()
        all_names = [name for name, _ in self.model.named_parameters()]

        def wholly_tangent(module: str) -> bool:
            inside = [name for name in all_names if name.startswith(module + ".")]
            return bool(inside) and all(name in self.base for name in inside)

        first = next((name for name in entered if wholly_tangent(name)), None)
        owners = {name.rpartition(".")[0] for name in self.base}
        earliest = next((name for name in entered if name in owners), None)
        if first is None or earliest is None or not f"{earliest}.".startswith(f"{first}."):
            return None  # a parameter outside `first` is used before it, or in no module of its own
        return self.model.get_submodule(first)

    def _capture(self, module: nn.Module, images: Tensor) -> Tensor:
        """The module's only input while the model runs on the images; what follows is not run."""
        with self._hooked(module, _stop), torch.no_grad():
            try:
                self.model(images)
            except _Reached as reached:
                return reached.activation
        raise RuntimeError(f"{type(module).__name__} was not reached")

    @contextmanager
    def _replayed(self, module: nn.Module, activation: Tensor) -> Iterator[None]:
        """The module gets the activation; the modules before it run on one dummy image."""
        with self._hooked(module, lambda _module, arguments: (activation, *arguments[1:])):
            yield

    @contextmanager
    def _hooked(self, module: nn.Module, hook) -> Iterator[None]:
        handle = module.register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()


class _Reached(Exception):
    """Carries the activation out of a forward pass whose rest is not needed."""

    def __init__(self, activation: Tensor) -> None:
        self.activation = activation


def _stop(_module: nn.Module, arguments: tuple) -> None:
    if len(arguments) != 1:
        raise TypeError("more than one positional argument")
    raise _Reached(arguments[0])
