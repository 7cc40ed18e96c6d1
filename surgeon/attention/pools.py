"""A map of (N, C, *spatial) as one number per image and channel: (N, C), in float32 or float64.

Reductions over named axes, not pooling layers: they have no size of their own to bake into an exported
graph, and `AdaptiveMaxPool2d` can't be exported with a dynamic size at all.

Mean and maximum are taken both at once. In training the backward pass of `amax` looks for ties with five passes
over the map; here it asks for the place of the maximum instead, and the gradient goes to the first of equals, as
in the official code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from surgeon.attention.capture import is_captured
from surgeon.attention.precision import mean, score_dtype


def average(x: Tensor) -> Tensor:
    """The mean over all positions."""
    return mean(x, _spatial(x))


def maximum(x: Tensor) -> Tensor:
    """The largest value."""
    return x.amax(_spatial(x)).to(score_dtype(x.dtype))


def power(x: Tensor) -> Tensor:
    """The root of the sum of squares (`LPPool2d(2, (H, W))`); its gradient at a map of zeros is 0."""
    return torch.linalg.vector_norm(x.to(score_dtype(x.dtype)), dim=_spatial(x))


def log_sum_exp(x: Tensor) -> Tensor:
    """The logarithm of the sum of exponentials, a soft maximum."""
    return torch.logsumexp(x.to(score_dtype(x.dtype)), dim=_spatial(x))


POOLS: dict[str, Callable[[Tensor], Tensor]] = {"avg": average, "max": maximum, "lp": power, "lse": log_sum_exp}


def pooled(x: Tensor, names: Iterable[str]) -> list[Tensor]:
    """One (N, C) for each of the pools `names`, in their order."""
    both = {}
    if {"avg", "max"} <= set(names):
        means, maxima = mean_and_max(x, _spatial(x))
        both = {"avg": means.flatten(1), "max": maxima.flatten(1)}
    return [both[name] if name in both else POOLS[name](x) for name in names]


def _spatial(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def as_map(scores: Tensor, x: Tensor) -> Tensor:
    """Scores of (N, C) with as many axes as the map `x` has: (N, C, 1, ..., 1)."""
    index = (..., *[None] * (x.dim() - 2))
    return scores[index]


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
