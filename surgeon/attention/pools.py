"""A map of (N, C, *spatial) as one number per image and channel: (N, C), in float32 or float64.

Reductions over named axes, not pooling layers: they have no size of their own to bake into an exported
graph, and `AdaptiveMaxPool2d` can't be exported with a dynamic size at all.
"""

import torch

from surgeon.attention.precision import mean, wide
from surgeon.attention.reductions import mean_and_max


def average(x):
    """The mean over all positions."""
    return mean(x, _spatial(x))


def maximum(x):
    """The largest value."""
    return x.amax(_spatial(x)).to(wide(x.dtype))


def power(x):
    """The root of the sum of squares (`LPPool2d(2, (H, W))`); its gradient at a map of zeros is 0."""
    return torch.linalg.vector_norm(x.to(wide(x.dtype)), dim=_spatial(x))


def log_sum_exp(x):
    """The logarithm of the sum of exponentials, a soft maximum."""
    return torch.logsumexp(x.to(wide(x.dtype)), dim=_spatial(x))


POOLS = {"avg": average, "max": maximum, "lp": power, "lse": log_sum_exp}


def pooled(x, names):
    """One (N, C) for each of the pools `names`, in their order."""
    found = {}
    if {"avg", "max"} <= set(names):
        found = {name: pool.flatten(1) for name, pool in zip(("avg", "max"), mean_and_max(x, _spatial(x)))}
    return [found[name] if name in found else POOLS[name](x) for name in names]


def _spatial(x):
    return tuple(range(2, x.dim()))


def as_map(scores, x):
    """Scores of (N, C) with as many axes as the map `x` has: (N, C, 1, ..., 1)."""
    return scores[(..., *[None] * (x.dim() - 2))]
