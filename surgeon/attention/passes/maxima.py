"""Where maxima lie, found in about the time that it takes to read a map once; and their share of a gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil, sqrt

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype
from surgeon.attention.passes.kernels import Additions

# Fewer bytes side by side are no work for vectors, as measured with vectors of 32 and of 64 bytes.
BYTES = 384
# Of fewer blocks to search the one alone saves nothing.
BLOCKS = 4


def first_maxima(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The maxima of the map `x` (N, C, L) along `dim`, and the first place of each.

    `x.max(dim)` looks at one number after the other, which takes a CPU up to eight times as long as this: maxima of
    blocks alone are found many at a time; then only the block that has the maximum is searched.
    """
    length, lines = x.shape[dim], x.movedim(dim, 2)
    if lines.is_contiguous():
        side = _divisor(length, BYTES // x.itemsize)
        return _in_line(lines, side) if side * BLOCKS <= length else x.max(dim)
    side = _divisor(length, ceil(sqrt(length)))
    is_short = lines.stride(1) != 1 or lines.shape[1] * x.itemsize < BYTES
    return x.max(dim) if is_short or side == length else _apart(x.movedim(dim, 1), side)


def _in_line(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The same along the last axis of `x`, by blocks of so many numbers; all of `x` lies in line."""
    parts = x.view(-1, x.shape[2] // side, side)
    most, block = parts.amax(2).max(1)
    blocks = torch.arange(len(parts), device=x.device) * parts.shape[1] + block
    within = parts.flatten(0, 1).index_select(0, blocks).max(1).indices
    return most.view(x.shape[:2]), (block * side + within).view(x.shape[:2])


def _apart(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The same along the second axis, whose numbers lie far apart."""
    parts = x.unflatten(1, (-1, side))
    most, block = parts.amax(2).max(1, keepdim=True)
    found = parts.gather(1, block.unsqueeze(2).expand(-1, -1, *parts.shape[2:])).squeeze(1)
    within = found.max(1, keepdim=True).indices
    return most.squeeze(1), (block * side + within).squeeze(1)


@cache
def _divisor(length: int, least: int) -> int:
    """The smallest divisor of `length` from `least` up.

    >>> _divisor(3136, 56), _divisor(784, 96), _divisor(7, 3)
    (56, 98, 7)
    """
    return next((divisor for divisor in range(max(1, least), length) if length % divisor == 0), length)


def at_maxima(x: Tensor, of_max: Tensor, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradient of the maximum over the channels (N, C)."""
    channels = channels.long()
    found = x.gather(1, channels[:, None])[:, 0].to(score_dtype(x.dtype)) * of_max
    return found.new_zeros(x.shape[:2]).scatter_add(1, channels, found)


def _scatter_add_(x: Tensor, dim: int, places: Tensor, values: Tensor) -> Tensor:
    """`x.scatter_add_(dim, places, values)` where each place is there once.

    In half precision a CPU copies all of `x` for that, to and fro; as numbers of 16 bits they go where they belong.
    """
    if x.dtype.itemsize != 2 or x.device.type != "cpu":
        return x.scatter_add_(dim, places, values)
    bits = x.view(torch.int16)
    found = bits.gather(dim, places).view(x.dtype)
    bits.scatter_(dim, places, found.add_(values).view(torch.int16))
    return x


def with_maxima(
    x: Tensor,
    s: Tensor | None,
    more: Additions,
    scatter_add: Callable[[Tensor, int, Tensor, Tensor], Tensor] = _scatter_add_,
) -> Tensor:
    """The gradient `x` of a map, which nobody else holds, with those of its maxima."""
    if more.of_max is not None and more.channels is not None:
        channels, extra = more.channels.long(), more.of_max
        extra = extra * s.gather(1, channels) if s is not None and more.inside else extra
        x = scatter_add(x, 1, channels[:, None], extra.to(x.dtype)[:, None])
    if more.of_peak is not None and more.positions is not None:
        x = scatter_add(x, 2, more.positions.long()[:, :, None], more.of_peak.to(x.dtype)[:, :, None])
    return x
