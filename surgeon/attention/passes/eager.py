"""The passes by torch's own operators, one after the other, writing into what was written before.

What each computes is in `formulas`. Maps are large and operators few: a copy of the map that is at hand is used again,
and sums over it are matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import mean, no_autocast, score_dtype
from surgeon.attention.passes.kernels import Pair
from surgeon.attention.passes.maxima import first_maxima


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    flat = x.flatten(2)
    most, places = first_maxima(flat, 2) if learns else (flat.amax(2), None)
    return mean(flat, (2,)), most.to(score_dtype(x.dtype)), places


def squeeze(x: Tensor, s: Tensor | None, learns: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Mean and maximum of `x * s` at each position, where it is, and `x * s` itself, for `product` to write into."""
    y = x if s is None else x * s.to(x.dtype)
    flat = y.flatten(2)
    most, places = first_maxima(flat, 1) if learns else (flat.amax(1), None)
    return mean(flat, (1,)), most.to(score_dtype(x.dtype)), places, None if s is None else y


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`; `made` is `x * s`, where it is at hand."""
    if made is None and s is not None:
        made = x * s.to(x.dtype)
    if t is None:
        return x if made is None else made
    return x * t.to(x.dtype) if made is None else made.mul_(t.to(x.dtype))


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    both = g.to(score_dtype(g.dtype)) * x
    channels = (both.sum(2) if t is None else weighted(both, t)) if of[0] else None
    positions = (both.sum(1) if s is None else weighted(both.mT, s)) if of[1] else None
    return channels, positions


def weighted(x: Tensor, weights: Tensor) -> Tensor:
    """The sums of `x * weights` over the positions."""
    with no_autocast(x):
        return torch.bmm(x.to(weights.dtype), weights[:, :, None])[:, :, 0]


def spread(
    g: Tensor, s: Tensor | None, t: Tensor | None, each: Tensor | None, inside: bool, pool: Tensor | None
) -> Tensor:
    """The gradient of the map, but for what its maxima get."""
    each = None if each is None else each[:, None]
    y = _times_plus(g.to(score_dtype(g.dtype)), None if t is None else t[:, None], each if inside else None)
    y = _times_plus(y, None if s is None else s[:, :, None], None if pool is None else pool[:, :, None])
    y = y if each is None or inside else y + each
    return y.to(g.dtype) if y is not g else g.clone()


def _times_plus(x: Tensor, factor: Tensor | None, term: Tensor | None) -> Tensor:
    """`x * factor + term` in one pass, of what there is of them."""
    if term is None:
        return x if factor is None else x * factor
    return x + term if factor is None else torch.addcmul(term, x, factor)
