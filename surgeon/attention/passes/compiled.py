"""The passes as loops that torch.compile makes of the formulas: each reads a map once, and writes one at most."""

from __future__ import annotations

from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.kernels import Pair
from surgeon.attention.passes.loops import run


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    flat = x.flatten(2)
    means, maxima = run(formulas.pools, flat)
    return means, maxima, run(formulas.first_positions, flat, maxima) if learns else None


def squeeze(x: Tensor, s: Tensor | None, learns: bool) -> tuple[Tensor, Tensor, Tensor | None, None]:
    """Mean and maximum of `x * s` at each position, and where it is; the product itself is not written down."""
    flat, s = x.flatten(2), None if s is None else s.flatten(1)
    means, maxima = run(formulas.squeeze, flat, s)
    return means, maxima, run(formulas.first_channels, flat, s, maxima) if learns else None, None


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`."""
    return run(formulas.product, x, s, t)


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    channels = run(formulas.channel_sums, g, x, t) if of[0] else None
    return channels, run(formulas.position_sums, g, x, s) if of[1] else None


def weighted(x: Tensor, weights: Tensor) -> Tensor:
    """The sums of `x * weights` over the positions."""
    return run(formulas.weighted, x, weights)


def spread(
    g: Tensor, s: Tensor | None, t: Tensor | None, each: Tensor | None, inside: bool, pool: Tensor | None
) -> Tensor:
    """The gradient of the map, but for what its maxima get."""
    return run(formulas.spread, g, s, t, each, inside, pool)
