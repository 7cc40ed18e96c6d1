"""From one map to another by a learned share: `x + gamma * (y - x)`, and exactly `x` while gamma is 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes.capture import is_captured, is_traced
from surgeon.attention.passes.dtypes import score_dtype


def mixed(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    """`x + gamma * (y - x)`, with gradients for all three; `x` itself, bit for bit, where gamma is 0 or y is x."""
    if not is_captured():
        return _Mix.apply(x, y, gamma)
    # What is saved can hold operators alone. A trace is checked against one without gradients: there it is one form.
    learns = gamma.requires_grad and torch.is_grad_enabled() or is_traced()
    return _opening(x, y, gamma) if learns else _mixed(x, y, gamma)


def _mixed(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    # Written out, 0 * (y - x) is NaN where y is infinite, and -0.0 + 0.0 is not -0.0.
    return torch.where(_is_still(x, y, gamma), x, x + gamma.to(x.dtype) * (y - x))


def _is_still(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    return (gamma == 0) | (x == y)


def _opening(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    """`_mixed` by operators whose own gradients are right: `where` alone would leave a gamma of 0 without one."""
    dtype = score_dtype(x.dtype)
    moved = gamma.to(dtype) * (y.to(dtype) - x)
    # Less nothing, x keeps its bits; the nothing has the gradient of what x will be moved by.
    nothing = torch.nan_to_num(moved, nan=0.0, posinf=0.0, neginf=0.0)
    still = x - (nothing.detach() - nothing)
    return torch.where(_is_still(x, y, gamma), still, x + moved).to(x.dtype)


class _Mix(torch.autograd.Function):
    """`_mixed` with its gradients, in float32 or better, and a derivative in forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
        return _mixed(x, y, gamma)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, gamma = ctx.saved_tensors
        part, dtype = gamma.to(x.dtype), score_dtype(x.dtype)
        along = grad.to(dtype) * (y.to(dtype) - x)
        return grad * (1 - part), grad * part, along.sum().reshape(1).to(gamma.dtype)

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor, of_y: Tensor, of_gamma: Tensor) -> Tensor:
        x, y, gamma = ctx.saved_tensors
        part = gamma.to(x.dtype)
        return of_x * (1 - part) + of_y * part + of_gamma.to(x.dtype) * (y - x)
