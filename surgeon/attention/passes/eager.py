"""The passes by torch's own operators, one after the other, writing into what was written before.

What each computes is in `formulas`. Maps are large and operators few: a copy of the map that is at hand is used again,
and sums over it are matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import mean, no_autocast, score_dtype
from surgeon.attention.passes.kernels import Pair
from surgeon.attention.passes.maxima import first_maxima

# Bytes of a map that stay in the second-level caches of a processor while several operators pass over them.
CACHE = 4 * 2**20


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
    parts = [_part(images, g, x, s, t) for images in _cached(x)]
    channels, positions = zip(*(_sums(*part, of=of) for part in parts))
    return (torch.cat(channels) if of[0] else None), (torch.cat(positions) if of[1] else None)


def _sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, *, of: tuple[bool, bool]) -> Pair:
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
    x = torch.empty_like(g)
    for images in _cached(g):
        x[images] = _spread(*_part(images, g, s, t, each, pool), inside=inside)
    return x


def _spread(
    g: Tensor, s: Tensor | None, t: Tensor | None, each: Tensor | None, pool: Tensor | None, *, inside: bool
) -> Tensor:
    wide = g.to(score_dtype(g.dtype))
    y = wide.clone() if t is None else wide * t[:, None]
    if each is not None and inside:
        y += each[:, None]
    if s is not None:
        y *= s[:, :, None]
    if each is not None and not inside:
        y += each[:, None]
    if pool is not None:
        y += pool[:, :, None]
    return y


def _cached(x: Tensor) -> Iterator[slice]:
    """The images of a map, a few at a time: what one operator leaves, the next finds in a processor's cache."""
    count = x.shape[0]
    few = count if x.device.type != "cpu" else max(1, CACHE * count // max(1, x.numel() * x.element_size()))
    return (slice(first, first + few) for first in range(0, count, few))


def _part(images: slice, *values: Tensor | None) -> Any:
    return [None if value is None else value[images] for value in values]
