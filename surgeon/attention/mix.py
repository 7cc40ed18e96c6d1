"""From one map to another by a learned share: `x + gamma * (y - x)`, and exactly `x` while gamma is 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes.capture import is_traced
from surgeon.attention.passes.dtypes import score_dtype


def mixed(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    """`x + gamma * (y - x)`, with gradients for all three; `x` itself, bit for bit, where gamma is 0 or y is x."""
    # A trace that is saved can hold operators alone; trained further, it would not open a gamma of 0.
    if is_traced():
        return _mixed(x, y, gamma)
    # torch.compile takes no function with a forward derivative.
    return (_Mix if torch.compiler.is_compiling() else _ForwardMix).apply(x, y, gamma)


def _mixed(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    # Written out, 0 * (y - x) is NaN where y is infinite, and -0.0 + 0.0 is not -0.0.
    return torch.where((gamma == 0) | (x == y), x, x + gamma.to(x.dtype) * (y - x))


class _Mix(torch.autograd.Function):
    """`_mixed`, whose `where` alone would leave gamma without a gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
        return _mixed(x, y, gamma)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, gamma = ctx.saved_tensors
        part, dtype = gamma.to(x.dtype), score_dtype(x.dtype)
        along = grad.to(dtype) * (y.to(dtype) - x)
        return grad * (1 - part), grad * part, along.sum().reshape(1).to(gamma.dtype)


class _ForwardMix(_Mix):
    """`_Mix` with a derivative in forward mode as well."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor, of_y: Tensor, of_gamma: Tensor) -> Tensor:
        x, y, gamma = ctx.saved_tensors
        part = gamma.to(x.dtype)
        return of_x * (1 - part) + of_y * part + of_gamma.to(x.dtype) * (y - x)
