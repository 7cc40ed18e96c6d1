"""The passes over a map, each by one kernel."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import mean, score_dtype
from surgeon.attention.passes.fused import launch
from surgeon.attention.passes.fused.launch import Parts, dense, multiples, sides, tiled, whole, wide
from surgeon.attention.passes.fused.tiles import maps
from surgeon.attention.passes.kernels import Additions, Pair


def average(x: Tensor) -> Tensor:
    """The mean of each channel, as torch takes it: it reads the map once."""
    return mean(x.flatten(2), (2,))


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    flat = x.flatten(2)
    return _pools("pools", flat, flat.shape[2], None, learns, LAST_FIRST=False, MAX_FIRST=False)


def squeeze(x: Tensor, s: Tensor | None, max_first: bool, learns: bool) -> tuple[Tensor, Tensor | None, None]:
    """Mean and maximum of `x * s` at each position, and where it is; the product itself is not written down."""
    turned = x.flatten(2).mT
    how = {"LAST_FIRST": True, "MAX_FIRST": max_first}
    return *_pools("squeeze", turned, turned.shape[1], s, learns, **how), None


def _pools(
    name: str, x: Tensor, positions: int, factors: Tensor | None, learns: bool, **how: bool
) -> tuple[Tensor, Tensor | None]:
    """Along the last axis of `x` (N, kept, count), of a map of so many positions."""
    images, kept, count = x.shape
    pairs = x.new_empty((images, 2, kept), dtype=score_dtype(x.dtype))
    places = x.new_empty((images, kept), dtype=torch.int32) if learns else None
    keep, step, warps = sides(name, x, positions)
    of_kept, of_count = multiples(x)
    constants = {**how, "WIDE": wide(x), "KEEP": keep, "STEP": step, "OF_KEPT": of_kept, "OF_COUNT": of_count}
    given = (x, dense(factors), pairs, places, kept, count, *x.stride())
    launch.start(maps.pools, images * ceil(kept / keep), warps, *given, **constants)
    return pairs, places


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`."""
    flat = x.flatten(2)
    y = torch.empty_like(flat)
    s, t = (None if factors is None else dense(factors) for factors in (s, t))
    tiled(maps.product, flat, (flat, s, t, y), (flat, y))
    # No view, which the network could not write into.
    return y.reshape(x.shape).data


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    parts = Parts("sums", x)
    channels, positions = (new if wanted else None for new, wanted in zip(parts.results(), of))
    parts.run(maps.sums, g, x, dense(s), dense(t), None, None, channels, positions, MAX_FIRST=False)
    return whole(channels), whole(positions)


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradients of mean and maximum over the channels."""
    parts = Parts("weighted", x)
    found, _ = parts.results()
    parts.run(maps.sums, None, x, None, None, dense(squeezed), channels, found, None, MAX_FIRST=max_first)
    return whole(found)


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    """The gradient of the map."""
    y = torch.empty_like(g)
    squeezed, pooled = (more.squeezed, more.channels), (more.pooled, more.positions)
    # Where maxima lie is known of all that were looked for, and not all of them have a gradient.
    places = (value for pair in (squeezed, pooled) for value in (pair if pair[0] is not None else (None, None)))
    small = map(dense, (s, t, *places, more.averaged))
    tiled(maps.spread, g, (g, *small, y), (g, y), INSIDE=more.inside, MAX_FIRST=more.max_first)
    return y
