"""The way back in operators that have gradients themselves, for who differentiates it once more."""

from __future__ import annotations

from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.formulas import Combine, blend
from surgeon.attention.passes.kernels import Additions, Pair, ordered
from surgeon.attention.passes.maxima import at_maxima, with_maxima

__all__ = ["sums", "weighted", "spread", "blend", "blend_sums"]


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    channels = formulas.channel_sums(g, x, t) if of[0] else None
    return channels, formulas.position_sums(g, x, s) if of[1] else None


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    of_mean, of_max = ordered(squeezed, max_first)
    return formulas.weighted(x, of_mean / x.shape[1]) + at_maxima(x, of_max, channels)


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    smooth = formulas.spread(g, s, t, more.of_mean, more.inside, more.of_average)
    return with_maxima(smooth, s, more, Tensor.scatter_add)


def blend_sums(
    g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    of_offset, of_factor = formulas.blend_acts(g, x, a, b, how) if acts else (None, None)
    given = (g, x, a, b, factor, how)
    return formulas.blend_channels(*given), formulas.blend_positions(*given), of_offset, of_factor
