"""The passes over a map, each by one loop; torch's operators where a map does not lie as loops need it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import eager
from surgeon.attention.passes.compiled.grid import Found, Grid, by
from surgeon.attention.passes.kernels import Additions, Pair, ordered


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
    mean, most = ordered(pair, max_first)
    first = grid.x.new_empty((len(grid.x), count), dtype=torch.int32) if learns else None
    found = Found(mean.data_ptr(), most.data_ptr(), None if first is None else first.data_ptr(), pair.stride(0))
    grid.run("reduce_columns" if along_rows else "reduce_rows", factors, found)
    return pair, first


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`."""
    grid = Grid.of(x)
    if grid is None or made is not None or s is None and t is None:
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
    return grid.sides(of_rows, joined(of_columns))


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradients of mean and maximum over the channels."""
    grid = Grid.of(x)
    if grid is None:
        return eager.weighted(x, squeezed, max_first, channels)
    of_mean, of_max = ordered(squeezed, max_first)
    found = grid.new(grid.rows) if grid.by_channel else grid.new(grid.chunks(), grid.columns)
    given = (*(grid.each(2, given) for given in (of_mean / x.shape[1], of_max, channels)), found)
    grid.run("weighted_channels" if grid.by_channel else "weighted_positions", *given)
    return found if grid.by_channel else joined(found)


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    """The gradient of the map."""
    # One number said again, as in the gradient of a mean, lies in no order.
    grid = Grid.of(g if 1 in g.stride()[1:] else g.contiguous())
    if grid is None:
        return eager.spread(g, s, t, more)
    of_average = None if more.of_average is None else more.of_average / g.shape[2]
    of_mean = None if more.of_mean is None else more.of_mean / g.shape[1]
    channels = [
        grid.each(1, s, 1),
        grid.each(1, of_average, 0),
        grid.each(1, more.of_peak),
        grid.each(1, more.positions),
    ]
    positions: list[Tensor | None] = [None] * 4
    if t is not None or of_mean is not None:
        channel = torch.zeros(g.shape[::2], dtype=torch.int32) if more.channels is None else more.channels
        positions = [grid.each(2, t, 1), grid.each(2, of_mean, 0), grid.each(2, more.of_max, 0), grid.each(2, channel)]
    y = grid.empty()
    name = "spread_channels" if grid.by_channel else "spread_positions"
    grid.run(name, by(*channels), by(*positions), more.inside, y)
    return y.x


def joined(parts: Any) -> Any:
    """The sums of columns, of which each chunk of rows has a part."""
    return None if parts is None else parts[:, 0] if parts.shape[1] == 1 else parts.sum(1)
