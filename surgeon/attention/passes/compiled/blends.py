"""The map times one factor made of a score of its channel and one of its position, by one loop each way."""

from __future__ import annotations

from torch import Tensor

from surgeon.attention.passes import eager
from surgeon.attention.passes.compiled.grid import Grid
from surgeon.attention.passes.formulas import Combine

# As the loops number them.
HOW: dict[Combine, int] = {"sum": 0, "product": 1, "max": 2}


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`."""
    grid = Grid.of_any(x)
    if grid is None:
        return eager.blend(x, a, b, offset, factor, how)
    y = grid.empty()
    scores = grid.sides(grid.each(1, a), grid.each(2, b))
    grid.run("blend", *scores, offset, factor, HOW[how], y)
    return y.x


def blend_sums(
    g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """What each of them gets from the gradient `g` of a blend."""
    grid = Grid.of(x)
    if grid is None:
        return eager.blend_sums(g, x, a, b, factor, how, acts)
    chunks = grid.chunks()
    of_rows, of_columns, of_acts = grid.new(grid.rows), grid.new(chunks, grid.columns), grid.new(chunks, 2)
    scores = grid.sides(grid.each(1, a), grid.each(2, b))
    grid.run("blend_sums", grid.alike(g), *scores, factor, HOW[how], of_rows, of_columns, of_acts)
    of_a, of_b = grid.sides(of_rows, of_columns[:, 0])
    of_offset, of_factor = of_acts.sum((0, 1)).split(1) if acts else (None, None)
    return of_a, of_b, of_offset, of_factor
