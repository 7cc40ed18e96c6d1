"""Each pass as a formula: what it computes, in operators that have gradients of their own.

A compiler makes loops of these, and second derivatives are taken of them. A map is (N, C, L), its positions all in one
axis; `s` are factors of its channels (N, C), `t` of its positions (N, L), None where there are none. Sums are in
float32 or better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype


def pools(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each channel: (N, C) each."""
    x = _wide(x)
    return x.mean(2), x.amax(2)


def squeeze(x: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and maximum of `x * s` at each position: (N, L) each."""
    y = _times_channels(x, s)
    return y.mean(1), y.amax(1)


def first_positions(x: Tensor, peak: Tensor) -> Tensor:
    """Where each channel is first at its maximum `peak`: (N, C). The last place where it nowhere is, as with NaN."""
    count = x.shape[2]
    places = torch.arange(count, device=x.device, dtype=torch.int32)
    return torch.where(_wide(x) == peak[:, :, None], places, count - 1).amin(2)


def first_channels(x: Tensor, s: Tensor | None, most: Tensor) -> Tensor:
    """Which channel of `x * s` is the first at the maximum `most` of each position: (N, L)."""
    count = x.shape[1]
    places = torch.arange(count, device=x.device, dtype=torch.int32)[:, None]
    return torch.where(_times_channels(x, s) == most[:, None], places, count - 1).amin(1)


def product(x: Tensor, s: Tensor | None, t: Tensor | None = None) -> Tensor:
    """`x * s * t`, where the factors have as many axes as `x`."""
    y = _wide(x)
    y = y if s is None else y * s
    return (y if t is None else y * t).to(x.dtype)


def channel_sums(g: Tensor, x: Tensor, t: Tensor | None) -> Tensor:
    """The sums of `g * x * t` over the positions: (N, C)."""
    return (_wide(g) * _times_positions(x, t)).sum(2)


def position_sums(g: Tensor, x: Tensor, s: Tensor | None) -> Tensor:
    """The sums of `g * x * s` over the channels: (N, L)."""
    return (_wide(g) * _times_channels(x, s)).sum(1)


def weighted(x: Tensor, weights: Tensor) -> Tensor:
    """The sums of `x * weights` over the positions, each of which has a weight: (N, C)."""
    return _times_positions(x, weights).sum(2)


def spread(
    g: Tensor, s: Tensor | None, t: Tensor | None, each: Tensor | None, inside: bool, pool: Tensor | None
) -> Tensor:
    """The gradient of the map, but for what its maxima get.

    Args:
        g: the gradient of the product (N, C, L).
        each: what every channel of a position gets from the mean over them (N, L).
        inside: whether that mean was taken of `x * s`, and not of `x`.
        pool: what every position of a channel gets from the mean over them (N, C).
    """
    y = _times_positions(g, t)
    if each is not None and inside:
        y = y + each[:, None]
    y = _times_channels(y, s)
    if each is not None and not inside:
        y = y + each[:, None]
    return (y if pool is None else y + pool[:, :, None]).to(g.dtype)


def _times_channels(x: Tensor, s: Tensor | None) -> Tensor:
    return _wide(x) if s is None else _wide(x) * s[:, :, None]


def _times_positions(x: Tensor, t: Tensor | None) -> Tensor:
    return _wide(x) if t is None else _wide(x) * t[:, None]


def _wide(x: Tensor) -> Tensor:
    return x.to(score_dtype(x.dtype))
