"""The passes over a map, each by one loop; torch's operators where a map does not lie as loops need it."""

from __future__ import annotations

import torch
from torch import Tensor

from surgeon.attention.passes import eager
from surgeon.attention.passes.compiled.grid import Found, Grid, by
from surgeon.attention.passes.kernels import Additions, Pair


def average(x: Tensor) -> Tensor:
    """The mean of each channel."""
    grid = Grid.of(x) if _is_half(x) else None
    return eager.average(x) if grid is None else _reduced(grid, grid.by_channel, None, False, False)[0][:, 0]


def _is_half(x: Tensor) -> bool:
    """Whether its numbers have to be made wider, for which torch takes several times as long; else one pass is one."""
    return x.dtype.itemsize == 2


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    grid = Grid.of(x)
    return eager.pools(x, learns) if grid is None else _reduced(grid, grid.by_channel, None, False, learns)


def squeeze(x: Tensor, s: Tensor | None, max_first: bool, learns: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Mean and maximum of `x * s` at each position, and where it is; the product itself is not written down."""
    grid = Grid.of(x)
    if grid is None:
        return eager.squeeze(x, s, max_first, learns)
    return *_reduced(grid, not grid.by_channel, grid.each(1, s), max_first, learns), None


def _reduced(
    grid: Grid, along_rows: bool, factors: Tensor | None, max_first: bool, learns: bool
) -> tuple[Tensor, Tensor | None]:
    """Mean and maximum of each row or of each column, and where it is."""
    count = grid.rows if along_rows else grid.columns
    pair = grid.new(2, count)
    first = grid.x.new_empty((len(grid.x), count), dtype=torch.int32) if learns else None
    one = pair.data_ptr()
    other = one + count * pair.itemsize
    mean, most = (other, one) if max_first else (one, other)
    found = Found(mean, most, None if first is None else first.data_ptr(), 2 * count)
    grid.run("reduce_columns" if along_rows else "reduce_rows", factors, found)
    return pair, first


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`."""
    factors = [one for one in (s, t) if one is not None]
    # One factor, and a product that was begun, torch multiplies by in one pass as well.
    is_ours = len(factors) == 2 or len(factors) == 1 and _is_half(x)
    grid = Grid.of(x) if is_ours and made is None else None
    if grid is None:
        return eager.product(x, s, t, made)
    y = grid.empty()
    grid.run("product", *grid.sides(grid.each(1, s), grid.each(2, t)), grid.by_channel, y)
    # No view, which the network could not write into.
    return y.x.reshape(x.shape).data


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    grid = Grid.of(x)
    if grid is None or not any(of):
        return eager.sums(g, x, s, t, of)
    factors = grid.sides(grid.each(1, s, 1), grid.each(2, t, 1))
    wanted = grid.sides(*of)
    of_rows = grid.new(grid.rows) if wanted[0] else None
    of_columns = grid.new(grid.chunks(), grid.columns) if wanted[1] else None
    grid.run("sums", grid.alike(g), *factors, of_rows, of_columns)
    return grid.sides(of_rows, None if of_columns is None else of_columns[:, 0])


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradients of mean and maximum over the channels."""
    grid = Grid.of(x)
    if grid is None:
        return eager.weighted(x, squeezed, max_first, channels)
    positions = by(None, squeezed, max_first, channels)
    if grid.by_channel:
        found = grid.new(grid.rows)
        grid.run("weighted_channels", positions, found)
        return found
    found = grid.new(grid.chunks(), grid.columns)
    grid.run("weighted_positions", positions, found)
    return found[:, 0]


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    """The gradient of the map."""
    grid = Grid.of_any(g)
    if grid is None:
        return eager.spread(g, s, t, more)
    read = more.averaged if more.pooled is None else more.pooled
    channels = by(grid.each(1, s, 1), grid.each(1, None, 0) if read is None else read, False, more.positions)
    positions = by(*_by_position(grid, t, more))
    y = grid.empty()
    grid.run("spread_channels" if grid.by_channel else "spread_positions", channels, positions, more.inside, y)
    return y.x


def _by_position(
    grid: Grid, t: Tensor | None, more: Additions
) -> tuple[Tensor | None, Tensor | None, bool, Tensor | None]:
    """What the gradient gets by the positions: all of it, or nothing."""
    if t is None and more.squeezed is None:
        return None, None, False, None
    if more.squeezed is None:
        places = grid.x.new_zeros(grid.x.shape[::2], dtype=torch.int32)
        return grid.each(2, t), grid.new(2, grid.x.shape[2]).zero_(), False, places
    return grid.each(2, t, 1), more.squeezed, more.max_first, more.channels
