"""From scores to factors: the published sigmoid, as far as gamma lets it act, or times a gain and of steeper scores.

With gamma `1 + gamma * (sigmoid(z) - 1)`; with a gain, and perhaps a slope, `gain * sigmoid(slope * z)`; with none of
them `sigmoid(z)`. Exactly 1 at gamma 0, and at scores of 0 with a gain of 2. A map with an infinity in it has scores
that are NaN; at the start even they leave it alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes.capture import is_differentiated, is_ours
from surgeon.attention.passes.choice import kernels_of_small
from surgeon.attention.passes.dtypes import cast, score_dtype


def factors(
    scores: Tensor, gamma: Tensor | None, gain: Tensor | None, slope: Tensor | None, *, parts: bool = False
) -> Tensor:
    """Factors in float32 or better, of the shape of `scores`.

    Args:
        parts: whether those are (N, parts, C), to be added up: the factors are (N, C) then.
    """
    kernels = kernels_of_small(scores) if is_ours(scores) and not _learns(gain, slope) else None
    if kernels is None:
        return plain(scores, gamma, gain, slope, parts)
    if torch.is_grad_enabled():
        return Factors.apply(scores, gamma, gain, slope, parts, kernels)
    return kernels.factors(scores, gamma, gain, slope, parts)


def _learns(*numbers: Tensor | None) -> bool:
    return any(number is not None and number.requires_grad for number in numbers)


def plain(scores: Tensor, gamma: Tensor | None, gain: Tensor | None, slope: Tensor | None, parts: bool) -> Tensor:
    """By torch's own operators."""
    scores = cast(scores, score_dtype(scores.dtype))
    scores = scores.sum(1) if parts else scores
    if gain is not None:
        return gain.to(scores.dtype) * torch.sigmoid(steep(torch.nan_to_num(scores), slope))
    scale = torch.sigmoid(scores)
    return scale if gamma is None else 1 + gamma.to(scale.dtype) * torch.nan_to_num(scale - 1)


def steep(scores: Tensor, slope: Tensor | None) -> Tensor:
    """`scores` times `slope`, where there is one."""
    return scores if slope is None else slope.to(scores.dtype) * scores


class Factors(torch.autograd.Function):
    """`plain`, by a kernel each way."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, *rest: Any) -> Tensor:
        *numbers, parts, kernels = rest
        ctx.save_for_backward(scores, *numbers)
        ctx.save_for_forward(scores, *numbers)
        ctx.parts, ctx.kernels = parts, kernels
        return kernels.factors(scores, *numbers, parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        scores, gamma, gain, slope = ctx.saved_tensors
        if is_differentiated(grad):
            of_scores, of_gamma = _derivatives(scores, gamma, gain, slope, ctx.parts)
            of_scores = grad * of_scores
            found = None if of_gamma is None else (grad * of_gamma).sum().view(1)
            of_scores = of_scores.unsqueeze(1).expand(scores.shape) if ctx.parts else of_scores
            return of_scores.to(scores.dtype), found, None, None, None, None
        needs = ctx.needs_input_grad[1]
        return *ctx.kernels.of_factors(grad, scores, gamma, gain, slope, ctx.parts, needs), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, of_gamma: Tensor | None, *_: None) -> Tensor:
        scores, *numbers = ctx.saved_tensors
        gamma, gain, slope = numbers
        by_scores, by_gamma = _derivatives(scores, gamma, gain, slope, ctx.parts)
        moved = torch.zeros_like(by_scores)
        if along is not None:
            moved = by_scores * (along.sum(1) if ctx.parts else along)
        return moved if of_gamma is None or by_gamma is None else moved + of_gamma * by_gamma


def _derivatives(
    scores: Tensor, gamma: Tensor | None, gain: Tensor | None, slope: Tensor | None, parts: bool
) -> tuple[Tensor, Tensor | None]:
    """Of the factors by their scores, and by gamma if there is one."""
    scores = scores.to(score_dtype(scores.dtype))
    scores = scores.sum(1) if parts else scores
    if gain is not None:
        scale = torch.sigmoid(steep(torch.nan_to_num(scores), slope))
        curve = steep(gain.to(scores.dtype) * scale * (1 - scale), slope)
        return torch.where(torch.isfinite(scores), curve, 0), None
    scale = torch.sigmoid(scores)
    if gamma is None:
        return scale * (1 - scale), None
    return torch.nan_to_num(gamma.to(scale.dtype) * scale * (1 - scale)), torch.nan_to_num(scale - 1)
