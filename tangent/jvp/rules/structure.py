"""Operations linear in one tensor, or in every tensor of a list (J9): ẏ = op(ẋ)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.jvp.apart import Apart
from tangent.jvp.dual import CONSTANT, Duals, NoRule, Tangents, rule

T: Any = Tensor
LINEAR = [
    *(T.reshape, T.view, T.permute, T.transpose, T.flatten, T.unflatten, T.unsqueeze, T.squeeze),
    *(T.expand, T.expand_as, T.contiguous, T.movedim, T.swapaxes, T.swapdims, T.repeat),
    *(T.repeat_interleave, T.mean, T.sum, T.__getitem__, T.select, T.narrow, T.index_select),
    *(T.roll, T.flip, T.rot90, T.clone, T.to, T.float, T.double, T.half, T.bfloat16, T.type),
    *(T.type_as, T.neg, T.__neg__, T.view_as, T.reshape_as, T.t, T.tile, T.diagonal),
    *(T.T.__get__, T.mT.__get__, T.chunk, T.split, T.unbind, T.tensor_split, T.unfold, T.cumsum),
    *(torch.reshape, torch.permute, torch.transpose, torch.flatten, torch.unflatten),
    *(torch.unsqueeze, torch.squeeze, torch.movedim, torch.swapaxes, torch.repeat_interleave),
    *(torch.mean, torch.sum, torch.select, torch.narrow, torch.index_select, torch.roll),
    *(torch.flip, torch.rot90, torch.clone, torch.neg, torch.t, torch.tile, torch.diagonal),
    *(torch.chunk, torch.split, torch.unbind, torch.tensor_split),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d),
    *(F.interpolate, F.unfold, F.fold),
    *(F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle),
]
CONSTANT.update(
    {
        *(T.shape.__get__, T.dtype.__get__, T.device.__get__, T.ndim.__get__, T.layout.__get__),
        *(T.is_cuda.__get__, T.requires_grad.__get__, T.is_sparse.__get__, T.is_mps.__get__),
        *(T.size, T.dim, T.stride, T.numel, T.is_contiguous, T.__len__, T.is_floating_point),
        *(T.is_complex, T.element_size, T.get_device, T.nelement, torch.is_floating_point),
        *(torch.is_complex, torch.numel, torch.is_tensor, T.argmax),
        *(T.new_zeros, T.new_ones, T.new_empty, T.new_full, T.new_tensor, torch.zeros_like),
        *(torch.ones_like, torch.empty_like, torch.full_like),
        *(T.__eq__, T.__ne__, T.__lt__, T.__le__, T.__gt__, T.__ge__),
        *(T.eq, T.ne, T.lt, T.le, T.gt, T.ge),
    }
)


def structural(operation: Any) -> Any:
    """The rule of an operation linear in its first argument, the others constant."""

    def apply(duals: Duals, x: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        own = duals.lookup(x)
        if own is None:  # another argument has tangents, but gives its shape alone
            return operation(x, *args, **kwargs), None
        if isinstance(own, Apart):
            return operation(x, *args, **kwargs), own.map(lambda t: operation(t, *args, **kwargs))
        moved = [operation(t, *args, **kwargs) for t in own]
        result = operation(x, *args, **kwargs)
        if isinstance(result, Tensor):
            return result, moved
        return result, [list(part) for part in zip(*moved, strict=True)]

    return apply


def joining(operation: Any) -> Any:
    """The rule of an operation linear in every tensor of a list; a constant part gives zeros."""

    def apply(duals: Duals, tensors: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tangents]:
        parts = list(tensors)
        moved = [
            [torch.zeros_like(p) if t is None else t for p, t in zip(parts, along, strict=True)]
            for along in duals.along(*parts)
        ]
        return operation(parts, *args, **kwargs), [operation(m, *args, **kwargs) for m in moved]

    return apply


for _operation in LINEAR:
    rule(_operation)(structural(_operation))
for _operation in (torch.cat, torch.concat, torch.stack, torch.hstack, torch.vstack):
    rule(_operation)(joining(_operation))


@rule(T.detach)
def detach(duals: Duals, x: Tensor) -> tuple[Tensor, None]:
    """The same values without tangents, even if their memory is written to later."""
    result = x.detach()
    duals.hold(result, None)
    return result, None


@rule(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)
def dropout(
    duals: Duals, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[Tensor, Tangents | None]:
    """J11: the identity in eval mode."""
    if training and p:
        raise NoRule(F.dropout, "is active: call model.eval()")
    return x, duals.of(x)


@rule(F.pad)
def pad(
    duals: Duals, x: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> tuple[Tensor, Tangents]:
    """ẋ with the same padding, but with 0 where the padding is a constant."""
    return F.pad(x, pad, mode, value), [F.pad(t, pad, mode) for t in duals.of(x) or []]


@rule(T.masked_fill, torch.masked_fill)
def masked_fill(
    duals: Duals, x: Tensor, mask: Tensor, value: Any
) -> tuple[Tensor, Tangents | None]:
    """ẏ = ẋ where the mask is not set, else 0."""
    own = duals.of(x)
    if own is None or duals.any_of([value]):
        raise NoRule(T.masked_fill, "fills with a value that moves")
    return x.masked_fill(mask, value), [t.masked_fill(mask, 0.0) for t in own]
