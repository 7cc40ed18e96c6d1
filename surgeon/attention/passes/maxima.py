"""Where maxima lie, found in about the time that it takes to read a map once; and their share of a gradient."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype
from surgeon.attention.passes.kernels import Additions


def first_maxima(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The maxima of the map `x` (N, C, L) along `dim`, and the first place of each.

    Where the numbers of one maximum lie far apart, `x.max(dim)` takes a CPU up to five times as long as this: maxima of
    blocks alone are found many at a time; then only the block that has the maximum is searched.
    """
    blocks = _blocks(x.shape[dim])
    if x.stride(dim) == 1 or blocks == 1:
        return x.max(dim)
    parts = x.movedim(dim, 1).unflatten(1, (blocks, -1))
    most, block = parts.amax(2).max(1, keepdim=True)
    found = parts.gather(1, block.unsqueeze(2).expand(-1, -1, *parts.shape[2:])).squeeze(1)
    within = found.max(1, keepdim=True).indices
    return most.squeeze(1), (block * parts.shape[2] + within).squeeze(1)


def _blocks(length: int) -> int:
    """The largest divisor of `length` up to its root.

    >>> _blocks(3136), _blocks(7)
    (56, 1)
    """
    return next(count for count in range(isqrt(length), 0, -1) if length % count == 0)


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
