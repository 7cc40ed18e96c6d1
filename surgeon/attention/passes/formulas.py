"""Each pass as a formula: what it computes, in operators that have gradients of their own.

Second derivatives are taken of these, and whoever makes the passes is held against them. A map is (N, C, L), its
positions all in one axis; `s` are factors of its channels (N, C), `t` of its positions (N, L), None where there are
none. Sums are in float32 or better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype

# A value and its derivative.
Given = tuple[Tensor, Tensor | None]
# How a score of a channel and one of a position make one.
Combine = Literal["sum", "product", "max"]


def pools(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each channel: (N, C) each."""
    x = _wide(x)
    return x.sum(2) / x.shape[2], x.amax(2)


def squeeze(x: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and maximum of `x * s` at each position: (N, L) each."""
    y = _times_channels(x, s)
    return y.sum(1) / y.shape[1], y.amax(1)


def first_positions(x: Tensor, peak: Tensor) -> Tensor:
    """Where each channel is first at its maximum `peak`: (N, C). The last place where it nowhere is, as with NaN."""
    count = x.shape[2]
    places = torch.arange(count, device=x.device, dtype=torch.int32)
    return torch.where(_wide(x) == peak[:, :, None], places, count - 1).amin(2)


def first_channels(x: Tensor, s: Tensor | None, most: Tensor) -> Tensor:
    """Which channel of `x * s` is the first at the maximum `most` of each position: (N, L)."""
    y, count = _times_channels(x, s), x.shape[1]
    places = torch.arange(count, device=x.device, dtype=torch.int32)[:, None]
    return torch.where(y == most[:, None], places, count - 1).amin(1)


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
    g: Tensor, s: Tensor | None, t: Tensor | None, of_mean: Tensor | None, inside: bool, of_average: Tensor | None
) -> Tensor:
    """The gradient of the map, but for what its maxima get.

    Args:
        g: the gradient of the product (N, C, L).
        of_mean: that of the mean over the channels (N, L).
        inside: whether that mean was taken of `x * s`, and not of `x`.
        of_average: that of the mean over the positions (N, C).
    """
    y = _times_positions(g, t)
    if of_mean is not None and inside:
        y = y + of_mean[:, None] / g.shape[1]
    y = _times_channels(y, s)
    if of_mean is not None and not inside:
        y = y + of_mean[:, None] / g.shape[1]
    return (y if of_average is None else y + of_average[:, :, None] / g.shape[2]).to(g.dtype)


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`, of scores of channels (N, C) and of positions (N, L)."""
    return (_wide(x) * (offset + factor * torch.sigmoid(combined(*_both(a, b), how)))).to(x.dtype)


def blend_channels(g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """What `a` gets from the gradient `g` of a blend: (N, C)."""
    of_a, _ = partials(*_both(a, b), how)
    return (_of_scores(g, x, a, b, factor, how) * of_a).sum(2)


def blend_positions(g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """What `b` gets from the gradient `g` of a blend: (N, L)."""
    _, of_b = partials(*_both(a, b), how)
    return (_of_scores(g, x, a, b, factor, how) * of_b).sum(1)


def blend_acts(g: Tensor, x: Tensor, a: Tensor, b: Tensor, how: Combine) -> tuple[Tensor, Tensor]:
    """What `offset` and `factor` get from the gradient `g` of a blend: (1,) each."""
    both = _wide(g) * x
    return both.sum().view(1), (both * torch.sigmoid(combined(*_both(a, b), how))).sum().view(1)


def blend_along(x: Given, scores: Sequence[Given], how: Combine) -> Tensor:
    """The derivative of a blend of the map (N, C, *spatial), each thing given with its own derivative or None."""
    flat = x[0].flatten(2)
    (a, of_a), (b, of_b), (offset, of_offset), (factor, of_factor) = scores
    one, other = partials(*_both(a, b), how)
    scale = torch.sigmoid(combined(*_both(a, b), how))
    slope = factor * scale * (1 - scale)
    terms = []
    if of_a is not None:
        terms.append(slope * one * of_a[:, :, None])
    if of_b is not None:
        terms.append(slope * other * of_b[:, None])
    if of_offset is not None:
        terms.append(of_offset.expand_as(scale))
    if of_factor is not None:
        terms.append(of_factor * scale)
    terms = [_wide(flat) * term for term in terms]
    if x[1] is not None:
        terms.append(_wide(x[1].flatten(2)) * (offset + factor * scale))
    return sum(terms[1:], terms[0]).to(flat.dtype).reshape(x[0].shape)


def combined(a: Tensor, b: Tensor, how: Combine) -> Tensor:
    """Scores of channels and of positions as one score."""
    if how == "max":
        return torch.maximum(a, b)
    return a + b if how == "sum" else a * b


def partials(a: Tensor, b: Tensor, how: Combine) -> tuple[Tensor | float, Tensor | float]:
    """The derivatives of `combined` by `a` and by `b`."""
    if how == "max":
        # Equals share, as with torch.maximum.
        side = torch.sign(a - b)
        return (1 + side) / 2, (1 - side) / 2
    return (1.0, 1.0) if how == "sum" else (b, a)


def _of_scores(g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine) -> Tensor:
    scale = torch.sigmoid(combined(*_both(a, b), how))
    return _wide(g) * x * (factor * scale * (1 - scale))


def _both(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a[:, :, None], b[:, None]


def _times_channels(x: Tensor, s: Tensor | None) -> Tensor:
    return _wide(x) if s is None else _wide(x) * s[:, :, None]


def _times_positions(x: Tensor, t: Tensor | None) -> Tensor:
    return _wide(x) if t is None else _wide(x) * t[:, None]


def _wide(x: Tensor) -> Tensor:
    return x.to(score_dtype(x.dtype))
