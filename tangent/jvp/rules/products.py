"""Sums, products, matrix products and convolutions: operations linear in every factor."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.jvp.dual import Duals, NoRule, Tangents, rule

T: Any = Tensor
Maybe = Tensor | None


def _sum(parts: list[Maybe], like: Tensor) -> Tensor:
    """The sum of the parts that are not None, in the shape of the result."""
    terms = [part for part in parts if part is not None]
    if not terms:
        return torch.zeros_like(like)
    total = terms[0]
    for part in terms[1:]:
        total = total + part
    return total if total.shape == like.shape else total.expand(like.shape)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _linear_into(total: Tensor, x: Tensor, weight: Tensor, bias: Maybe) -> None:
    """Write F.linear into memory that is there."""
    if bias is None:
        torch.mm(_flat(x), weight.T, out=total.view(-1, len(weight)))
    else:
        torch.addmm(bias, _flat(x), weight.T, out=total.view(-1, len(weight)))


@rule(F.linear)
def linear(duals: Duals, x: Tensor, weight: Tensor, bias: Maybe = None) -> tuple[Tensor, Tangents]:
    """J1: ẏ = ẋWᵀ + x·δWᵀ + δb."""
    result = F.linear(x, weight, bias)
    if duals.apart(weight) is not None:
        own = duals.add_own(result.new_empty(result.shape), _linear_into, x, weight, bias)
        for moving in duals.of(x) or []:
            own[0].view(-1, len(weight)).addmm_(_flat(moving), weight.T)
        return result, own
    flat, out = _flat(x), result.shape[-1]
    moved = []
    for dx, dw, db in duals.along(x, weight, bias):
        if dx is None:
            part = F.linear(x, dw, db) if dw is not None else torch.zeros_like(result)
            if dw is None and db is not None:
                part += db
        else:
            part = F.linear(dx, weight, db)
            if dw is not None:
                part.view(-1, out).addmm_(flat, dw.T)
        moved.append(part)
    return result, moved


@rule(F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d)
def convolution(
    duals: Duals,
    x: Tensor,
    weight: Tensor,
    bias: Maybe = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tangents]:
    """J2: ẏ = conv(ẋ, W) + conv(x, δW) + δb."""
    convolve: Any = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    how = (stride, padding, dilation, groups)
    result = convolve(x, weight, bias, *how)
    if duals.apart(weight) is not None:
        moving = duals.of(x)
        total = convolve(moving[0], weight, None, *how) if moving else torch.zeros_like(result)
        return result, duals.add_own(
            total, lambda part, *one: part.add_(convolve(*one, *how)), x, weight, bias
        )
    moved = []
    for dx, dw, db in duals.along(x, weight, bias):
        if dx is not None:
            part = convolve(dx, weight, db, *how)
            if dw is not None:
                part += convolve(x, dw, None, *how)
        elif dw is not None:
            part = convolve(x, dw, db, *how)
        else:
            part = torch.zeros_like(result)
            part += db.view(-1, *[1] * (x.ndim - 2)) if db is not None else 0.0
        moved.append(part)
    return result, moved


@rule(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
def transposed_convolution(
    duals: Duals, x: Tensor, weight: Tensor, bias: Maybe = None, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tangents]:
    """J2 for the transposed convolution."""
    convolve = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}[x.ndim]
    result = convolve(x, weight, bias, *args, **kwargs)
    moved = []
    for dx, dw, db in duals.along(x, weight, bias):
        parts = [
            None if dx is None else convolve(dx, weight, None, *args, **kwargs),
            None if dw is None else convolve(x, dw, None, *args, **kwargs),
            None if db is None else db.view(-1, *[1] * (x.ndim - 2)).expand(result.shape),
        ]
        moved.append(_sum(parts, result))
    return result, moved


def bilinear(operation: Any) -> Any:
    """The rule of an operation linear in its first and in its second argument: ẏ = ẋ∘y + x∘ẏ."""

    def apply(duals: Duals, x: Any, y: Any, **kwargs: Any) -> tuple[Tensor, Tangents]:
        result = operation(x, y, **kwargs)
        return result, [
            _sum(
                [
                    None if dx is None else operation(dx, y, **kwargs),
                    None if dy is None else operation(x, dy, **kwargs),
                ],
                result,
            )
            for dx, dy in duals.along(x, y)
        ]

    return apply


def matrix_product(operation: Any) -> Any:
    """The rule of a matrix product: `bilinear`, or rows of images by matrices of their own."""
    by_each = bilinear(operation)

    def apply(duals: Duals, x: Any, y: Any) -> tuple[Tensor, Tangents]:
        if duals.apart(x) is None and duals.apart(y) is None:
            found: tuple[Tensor, Tangents] = by_each(duals, x, y)
            return found
        axis = 0 if y.ndim == 2 else -2  # a stack of matrices has no rows of images: x has them
        result, moving = operation(x, y), duals.of(x)
        total = operation(moving[0], y) if moving else torch.zeros_like(result)
        return result, duals.add_own(
            total, lambda part, *one: part.add_(operation(*one)), x, y, axis=axis
        )

    return apply


for _operation in (torch.matmul, torch.bmm, torch.mm):
    rule(_operation)(matrix_product(_operation))
rule(T.matmul, T.__matmul__, T.bmm, T.mm)(matrix_product(torch.matmul))
rule(torch.mul)(bilinear(torch.mul))
rule(T.mul, T.__mul__, T.__rmul__, T.multiply, torch.multiply)(bilinear(torch.mul))


@rule(T.add, T.__add__, T.__radd__, torch.add)
def add(duals: Duals, x: Any, y: Any, *, alpha: float = 1) -> tuple[Tensor, Tangents]:
    """J8: ẋ + ẏ."""
    result = torch.add(x, y, alpha=alpha)
    return result, added(duals, result, x, y, alpha)


def added(duals: Duals, like: Tensor, x: Any, y: Any, alpha: float) -> Tangents:
    """The tangents of x + alpha·y, in the shape of `like`."""
    return [
        _sum([dx, dy if dy is None or alpha == 1 else alpha * dy], like)
        for dx, dy in duals.along(x, y)
    ]


@rule(T.sub, T.__sub__, torch.sub, torch.subtract)
def sub(duals: Duals, x: Any, y: Any) -> tuple[Tensor, Tangents]:
    """ẋ - ẏ."""
    result = torch.sub(x, y)
    return result, [_sum([dx, None if dy is None else -dy], result) for dx, dy in duals.along(x, y)]


@rule(T.__rsub__, torch.rsub)
def rsub(duals: Duals, x: Any, y: Any) -> tuple[Tensor, Tangents]:
    """y - x."""
    result = y - x
    return result, [_sum([dy, None if dx is None else -dx], result) for dx, dy in duals.along(x, y)]


@rule(T.div, T.__truediv__, torch.div, torch.true_divide)
def div(duals: Duals, x: Any, y: Any) -> tuple[Tensor, Tangents]:
    """(ẋ - (x/y)·ẏ) / y."""
    result = torch.div(x, y)
    return result, [
        _sum([None if dx is None else dx / y, None if dy is None else -result * dy / y], result)
        for dx, dy in duals.along(x, y)
    ]


@rule(torch.addcmul, T.addcmul)
def addcmul(
    duals: Duals, x: Tensor, a: Tensor, b: Tensor, *, value: float = 1
) -> tuple[Tensor, Tangents]:
    """x + value·a·b."""
    result = torch.addcmul(x, a, b, value=value)
    return result, [
        _sum(
            [
                dx,
                None if da is None else value * da * b,
                None if db is None else value * a * db,
            ],
            result,
        )
        for dx, da, db in duals.along(x, a, b)
    ]


@rule(torch.einsum, torch.functional.einsum)
def einsum(duals: Duals, equation: str, *operands: Any) -> tuple[Tensor, Tangents]:
    """Sum over the operands, with one operand at a time replaced by its tangent."""
    values = list(operands[0]) if isinstance(operands[0], list | tuple) else list(operands)
    if not isinstance(equation, str):
        raise NoRule(torch.einsum, "is written by lists")
    result = torch.einsum(equation, *values)
    moved = []
    for along in duals.along(*values):
        parts: list[Maybe] = [
            None if t is None else torch.einsum(equation, *values[:i], t, *values[i + 1 :])
            for i, t in enumerate(along)
        ]
        moved.append(_sum(parts, result))
    return result, moved
