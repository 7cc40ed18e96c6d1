"""The passes by torch's own operators, one after the other, writing into what was written before.

What each computes is in `formulas`. Maps are large and operators few: a copy of the map that is at hand is used again,
and sums over it are matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.axes import as_channels, as_positions
from surgeon.attention.passes.dtypes import mean, no_autocast, score_dtype
from surgeon.attention.passes.formulas import Combine
from surgeon.attention.passes.kernels import Additions, Pair, ordered
from surgeon.attention.passes.maxima import at_maxima, first_maxima, with_maxima

# So many numbers of float32 at a time stay in a cache, as measured on a CPU, while several operators go over them.
NUMBERS = 2**21
COMBINE: dict[Combine, Any] = {"sum": torch.add, "product": torch.mul, "max": torch.maximum}


def average(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return _average(x.flatten(2))


def _average(x: Tensor) -> Tensor:
    """The mean of each channel of a map (N, C, L)."""
    if x.dtype.itemsize != 2 or x.device.type != "cpu" or not x.is_contiguous():
        return mean(x, (2,))
    # Into float32 a CPU adds numbers of two bytes one by one, and takes a batch norm's statistics by vectors of them.
    rows = x.view(1, -1, x.shape[2])
    unused = x.new_zeros(rows.shape[1], dtype=torch.float32)
    return torch.batch_norm_update_stats(rows, unused, unused, 0)[0].view(x.shape[:2])


def pools(x: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """Mean and maximum of each channel, and where it is, if that is asked for."""
    flat = x.flatten(2)
    most, positions = first_maxima(flat, 2) if learns else (flat.amax(2), None)
    return torch.stack((average(x), most.to(score_dtype(x.dtype))), 1), positions


def squeeze(x: Tensor, s: Tensor | None, max_first: bool, learns: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Mean and maximum of `x * s` at each position, where it is, and `x * s` itself, for `product` to write into."""
    y = x if s is None else x * as_channels(s, x).to(x.dtype)
    flat = y.flatten(2)
    most, channels = first_maxima(flat, 1) if learns else (flat.amax(1), None)
    pair = (mean(flat, (1,)), most.to(score_dtype(x.dtype)))
    return torch.stack(pair[::-1] if max_first else pair, 1), channels, None if s is None else y


def product(x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
    """`x * s * t`; `made` is `x * s`, where it is at hand."""
    if made is None and s is not None:
        made = x * as_channels(s, x).to(x.dtype)
    if t is None:
        return x if made is None else made
    t = as_positions(t, x).to(x.dtype)
    return x * t if made is None else made.mul_(t)


def sums(g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""
    parts = _parts(g)
    several = [[None] * len(parts) if one is None else one.split(len(parts[0])) for one in (x, s, t)]
    channels, positions = zip(*(_sums(of, *each) for each in zip(parts, *several, strict=True)))
    return torch.cat(channels) if of[0] else None, torch.cat(positions) if of[1] else None


def _sums(of: tuple[bool, bool], g: Tensor, x: Any, s: Any, t: Any) -> tuple[Any, Any]:
    if g.dtype == torch.bfloat16 and t is None and not of[1]:
        # It has the range of float32: rounded products, as autograd makes them, are summed without more rounding.
        return _average(g * x).mul_(g.shape[2]), None
    both = _times(g, x)
    channels = (both.sum(2) if t is None else _weighted(both, t)) if of[0] else None
    positions = (both.sum(1) if s is None else _weighted(both.mT, s)) if of[1] else None
    return channels, positions


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """`x` (N, ...), on a CPU a few images at a time."""
    if x.device.type != "cpu":
        return (x,)
    return x.split(max(1, NUMBERS * len(x) // x.numel()))


def _times(g: Tensor, x: Tensor) -> Tensor:
    """`g * x` in float32 or better."""
    wide = g.to(score_dtype(g.dtype))
    return g * x if wide is g else wide.mul_(x)


def weighted(x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
    """What factors of `x` get from the gradients of mean and maximum over the channels."""
    of_mean, of_max = ordered(squeezed, max_first)
    return _weighted(x, of_mean / x.shape[1]).add_(at_maxima(x, of_max, channels))


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """The sums of `x` (N, numbers, L) by their weights (N, L)."""
    with no_autocast(x):
        # With the vector on the left: on the right it takes a CPU five to fifteen times as long.
        return torch.bmm(weights[:, None], x.to(weights.dtype).mT)[:, 0]


def spread(g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
    """The gradient of the map."""
    each = None if more.of_mean is None else more.of_mean[:, None] / g.shape[1]
    pool = None if more.of_average is None else more.of_average[:, :, None] / g.shape[2]
    y = torch.empty_like(g)
    _times_plus(g, None if t is None else t[:, None], each if more.inside else None, y)
    _times_plus(y, None if s is None else s[:, :, None], pool, y)
    y = y if each is None or more.inside else y.add_(each)
    return with_maxima(y, s, more)


def _times_plus(x: Tensor, factor: Tensor | None, term: Tensor | None, y: Tensor) -> None:
    """`y = x * factor + term` in the precision of the map, of what there is of them."""
    factor, term = (None if one is None else one.to(x.dtype) for one in (factor, term))
    if factor is not None and term is not None and _is_one_pass(x, factor):
        torch.addcmul(term, x, factor, out=y)
        return
    if factor is not None:
        x = torch.mul(x, factor, out=y)
    if term is not None:
        x = torch.add(x, term, out=y)
    if x is not y:
        y.copy_(x)


def _is_one_pass(x: Tensor, factor: Tensor) -> bool:
    """Whether a product and a sum at once take less time than two passes.

    In half precision they take a CPU five times as long, and twice where both stay the same along what lies in line.
    """
    in_line = min((1, 2), key=x.stride)
    return x.dtype.itemsize > 2 and factor.shape[in_line] == x.shape[in_line]


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`."""
    return _sigmoid(x, a, b, how).mul_(factor).add_(offset).mul_(x).to(x.dtype)


def blend_sums(
    g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """What each of them gets from the gradient `g` of a blend."""
    both = _times(g, x)
    scale = _sigmoid(x, a, b, how)
    of_offset = both.sum().view(1) if acts else None
    of_factor = (both * scale).sum().view(1) if acts else None
    of_scores = torch.ops.aten.sigmoid_backward(both, scale)
    if how == "product":
        of_a, of_b = _weighted(of_scores, b), _weighted(of_scores.mT, a)
    elif how == "sum":
        of_a, of_b = of_scores.sum(2), of_scores.sum(1)
    else:
        one, other = formulas.partials(a[:, :, None], b[:, None], how)
        of_a, of_b = (of_scores * one).sum(2), (of_scores * other).sum(1)
    return of_a.mul_(factor), of_b.mul_(factor), of_offset, of_factor


def _sigmoid(x: Tensor, a: Tensor, b: Tensor, how: Combine) -> Tensor:
    """Of all combined scores, as a new map in the memory order of `x`."""
    scale = torch.empty_like(x, dtype=score_dtype(x.dtype))
    return COMBINE[how](a[:, :, None], b[:, None], out=scale).sigmoid_()
