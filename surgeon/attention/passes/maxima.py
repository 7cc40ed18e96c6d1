"""Where maxima lie, found in about the time that it takes to read a map once."""

from __future__ import annotations

from math import isqrt

from torch import Tensor


def first_maxima(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The maxima of the map `x` (N, C, L) along `dim`, and the first place of each.

    `x.max(dim)` looks at one number after the other. Where those that lie beside each other belong to several maxima,
    maxima of blocks are found many at a time; then only the block that has the maximum is searched.
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

    >>> _blocks(3136), _blocks(256), _blocks(7)
    (56, 16, 1)
    """
    return next(count for count in range(isqrt(length), 0, -1) if length % count == 0)
