"""The passes as loops that torch.compile makes of the formulas: each reads a map once, and writes one at most."""

from __future__ import annotations

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.formulas import Combine
from surgeon.attention.passes.kernels import Additions, Pair, ordered
from surgeon.attention.passes.loops import run
from surgeon.attention.passes.maxima import with_maxima

# Divisors of the lengths that loops are compiled with, of the channels and of the positions.
PARTS = {1: (32, 16, 8), 2: (16, 8)}


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    flat = x.flatten(2)
    parts = _parts(flat, 2)
    pair = run(formulas.pools, flat, parts)
    return torch.stack(pair, 1), run(formulas.first_positions, flat, pair[1], parts) if learns else None


def squeeze(x: Tensor, s: Tensor | None, max_first: bool, learns: bool) -> tuple[Tensor, Tensor | None, None]:
    """Mean and maximum of `x * s` at each position, and where it is; the product itself is not written down."""
    flat, s = x.flatten(2), None if s is None else s.flatten(1)
    parts = _parts(flat, 1)
    pair = run(formulas.squeeze, flat, s, parts)
    channels = run(formulas.first_channels, flat, s, pair[1], parts) if learns else None
    return torch.stack(pair[::-1] if max_first else pair, 1), channels, None


def _parts(x: Tensor, axis: int) -> int:
    """How many neighbours to reduce first: on a CPU, where they lie far apart and are many."""
    if x.device.type != "cpu" or x.stride(axis) == 1:
        return 1
    return next((parts for parts in PARTS[axis] if x.shape[axis] % parts == 0 and x.shape[axis] >= 4 * parts), 1)


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`."""
    return run(formulas.product, x, s, t)


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    channels = run(formulas.channel_sums, g, x, t, _parts(x, 2)) if of[0] else None
    return channels, run(formulas.position_sums, g, x, s) if of[1] else None


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradients of mean and maximum over the channels."""
    of_mean, of_max = ordered(squeezed, max_first)
    return run(formulas.weighted, x, of_mean / x.shape[1], of_max.contiguous(), channels, _parts(x, 2))


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    """The gradient of the map."""
    # Of pairs in memory of their own: loops are compiled for numbers that lie side by side.
    of_mean, of_average = (None if half is None else half.contiguous() for half in (more.of_mean, more.of_average))
    return with_maxima(run(formulas.spread, g, s, t, of_mean, more.inside, of_average), s, more)


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`."""
    return run(formulas.blend, x, a, b, offset, factor, how)


def blend_sums(
    g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """What each of them gets from the gradient `g` of a blend."""
    of_offset, of_factor = run(formulas.blend_acts, g, x, a, b, how) if acts else (None, None)
    given = (g, x, a, b, factor, how)
    return run(formulas.blend_channels, *given), run(formulas.blend_positions, *given), of_offset, of_factor
