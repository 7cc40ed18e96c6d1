"""The passes as plain operators, which whoever records or transforms them knows: compilers, exporters, torch.func.

Mean and maximum are taken both at once. In training the backward pass of `amax` looks for ties with five passes
over the map; here it asks for the place of the maximum instead, and the gradient goes to the first of equals, as
in the official code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.capture import is_captured, is_traced
from surgeon.attention.passes.dtypes import mean, score_dtype
from surgeon.attention.passes.formulas import Combine


def pools(x: Tensor) -> Tensor:
    """The mean and the maximum of each channel (N, 2, C)."""
    return torch.stack([pool.flatten(1) for pool in mean_and_max(x, tuple(range(2, x.dim())))], 1)


def squeeze(x: Tensor, s: Tensor | None, max_first: bool) -> tuple[Tensor, Tensor | None]:
    """The mean and the maximum of `x * s` over the channels (N, 2, *spatial), and that map, if it is another."""
    y = x if s is None else scaled(x, s)
    pair = mean_and_max(y, (1,))
    return torch.cat(pair[::-1] if max_first else pair, 1), None if s is None else y


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`; `made` is `x * s`, where it is at hand."""
    if made is None:
        made = x if s is None else scaled(x, s)
    return made if t is None else scaled(made, t)


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`, of scores with as many axes as `x`."""
    return scaled(x, offset + factor * torch.sigmoid(formulas.combined(a, b, how)))


def mean_and_max(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Both of `x` over the axes `dims`, in float32 or float64.

    Args:
        dims: axes that follow each other; they stay, with length 1.
    """
    learns = x.requires_grad and torch.is_grad_enabled()
    # A compiler does better with the plain operators, whose backward passes it fuses; a trace needs one form.
    return _MeanAndMax.apply(x, dims) if learns and not is_captured() else _both(x, dims)


def _both(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return mean(x, dims, keepdim=True), x.amax(dims, keepdim=True).to(score_dtype(x.dtype))


class _MeanAndMax(torch.autograd.Function):
    """`_both`, whose gradient of the maximum goes to one place."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return _both(x, dims)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.dims = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_max: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        first, last = ctx.dims[0], ctx.dims[-1]
        flat = x.flatten(first, last)
        places = flat.max(first, keepdim=True).indices
        shape = [*flat.shape[:first], 1, *flat.shape[first + 1 :]]
        of_mean, of_max = (of_mean / flat.shape[first]).reshape(shape), of_max.reshape(shape)
        # In the memory order of the map; and as many as there are gradients, of which vmap may bring many for one map.
        order = torch.empty_like(flat).stride()
        grad = (of_mean + of_max).new_empty_strided(flat.shape, order, dtype=x.dtype).copy_(of_mean)
        grad.scatter_add_(first, places, of_max.to(x.dtype))
        return grad.reshape(x.shape), None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, _: None) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        first, last = ctx.dims[0], ctx.dims[-1]
        places = x.flatten(first, last).max(first, keepdim=True).indices
        of_max = along.flatten(first, last).gather(first, places)
        shape = [1 if axis in ctx.dims else length for axis, length in enumerate(x.shape)]
        return mean(along, ctx.dims, keepdim=True), of_max.reshape(shape).to(score_dtype(x.dtype))


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """`x * scale` in the precision of `x`, with a gradient of `scale` that can't overflow.

    Autograd keeps `x` and `scale` and not the result, so the network may go on in place.
    """
    if x.dtype == torch.float16 and not is_traced():
        return _HalfProduct.apply(x, scale)
    return x * scale.to(x.dtype)


class _HalfProduct(torch.autograd.Function):
    """A float16 map times a float32 scale; the gradient of the scale is summed in float32."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor) -> Tensor:
        return x * scale.to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale.to(x.dtype), (grad.to(scale.dtype) * x).sum_to_size(scale.shape)

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor, of_scale: Tensor) -> Tensor:
        x, scale = ctx.saved_tensors
        return of_x * scale.to(x.dtype) + x * of_scale.to(x.dtype)
