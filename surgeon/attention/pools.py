"""A map of (N, C, *spatial) as one number per image and channel: (N, C), in float32 or float64.

Reductions over named axes, not pooling layers: they have no size of their own to bake into an exported
graph, and `AdaptiveMaxPool2d` can't be exported with a dynamic size at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from surgeon.attention.passes import Scan
from surgeon.attention.passes.dtypes import mean, score_dtype


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


def pooled(scan: Scan, names: Sequence[str]) -> Tensor:
    """All pools `names` of the map, in their order: (N, pools, C)."""
    known = {}
    if {"avg", "max"} <= set(names):
        both = scan.pools()
        if tuple(names) == ("avg", "max"):
            return both
        known["avg"], known["max"] = both.unbind(1)
    elif "avg" in names:
        known["avg"] = scan.average()
    return torch.stack([known[name] if name in known else POOLS[name](scan.x) for name in names], 1)


def _spatial(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))
