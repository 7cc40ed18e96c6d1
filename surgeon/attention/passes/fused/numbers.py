"""From scores to factors, by one kernel each way."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype
from surgeon.attention.passes.fused import launch
from surgeon.attention.passes.fused.launch import dense, wide
from surgeon.attention.passes.fused.tiles import numbers

# Numbers of a program, and its warps.
SIDE, WARPS = 1024, 4


def factors(scores: Tensor, gamma: Tensor | None, gain: Tensor | None, slope: Tensor | None, parts: bool) -> Tensor:
    """Factors from scores, as `passes.factors` says."""
    shape = (scores.shape[0], scores.shape[2]) if parts else scores.shape
    y = scores.new_empty(shape, dtype=score_dtype(scores.dtype))
    given = (dense(scores), gamma, gain, slope, y, y.numel(), *_parts(scores, parts))
    launch.start(numbers.factors, ceil(y.numel() / SIDE), WARPS, *given, WIDE=wide(scores), SIDE=SIDE)
    return y


def of_factors(
    g: Tensor, scores: Tensor, gamma: Tensor | None, gain: Tensor | None, slope: Tensor | None, parts: bool, needs: bool
) -> tuple[Tensor, Tensor | None]:
    """What the scores and, if it `needs` that, gamma get from the gradient `g` of their factors."""
    scores = dense(scores)
    of_scores = torch.empty_like(scores)
    programs = ceil(g.numel() / SIDE)
    of_gamma = g.new_empty(programs) if needs else None
    given = (dense(g), scores, gamma, gain, slope, of_scores, of_gamma, g.numel(), *_parts(scores, parts))
    launch.start(numbers.of_factors, programs, WARPS, *given, WIDE=wide(scores), SIDE=SIDE)
    return of_scores, None if of_gamma is None or gamma is None else of_gamma.sum().view(1).to(gamma.dtype)


def _parts(scores: Tensor, parts: bool) -> tuple[int, int]:
    """How many parts a score has, and how many scores an image."""
    return (scores.shape[1], scores.shape[2]) if parts else (1, scores.numel())
