"""From scores to factors: one number for each channel or position."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def factors(
    scores, gamma, gain, slope, y, numbers, parts, count,
    WIDE: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Factors from `count` scores of each image, in `parts` that are added."""
    at = tl.program_id(0) * SIDE + tl.arange(0, SIDE)
    score = _score(scores, at, numbers, parts, count, WIDE, SIDE)
    if gain is not None:
        number = _number(score)
        value = tl.load(gain).to(WIDE) * tl.sigmoid(number if slope is None else tl.load(slope).to(WIDE) * number)
    else:
        value = tl.sigmoid(score)
        if gamma is not None:
            value = 1 + tl.load(gamma).to(WIDE) * _or_zero(value - 1)
    tl.store(y + at, value, at < numbers)


@triton.jit
def of_factors(
    g, scores, gamma, gain, slope, of_scores, of_gamma, numbers, parts, count,
    WIDE: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """What each part of a score gets from the gradient `g` of its factor, and from all of a program gamma."""
    at = tl.program_id(0) * SIDE + tl.arange(0, SIDE)
    score = _score(scores, at, numbers, parts, count, WIDE, SIDE)
    grad = tl.load(g + at, at < numbers, 0)
    if gain is not None:
        number = _number(score)
        scale = tl.sigmoid(number if slope is None else tl.load(slope).to(WIDE) * number)
        curve = tl.load(gain).to(WIDE) * scale * (1 - scale)
        curve = curve if slope is None else tl.load(slope).to(WIDE) * curve
        curve = tl.where(number == score, curve, 0)
    else:
        scale = tl.sigmoid(score)
        curve = scale * (1 - scale)
        if gamma is not None:
            curve = _or_zero(tl.load(gamma).to(WIDE) * curve)
    if of_gamma is not None:
        tl.store(of_gamma + tl.program_id(0), tl.sum(grad * _or_zero(scale - 1)))
    image = at // count
    for part in range(parts):
        place = of_scores + (image * parts + part).to(tl.int64) * count + at % count
        tl.store(place, (grad * curve).to(of_scores.dtype.element_ty), at < numbers)


@triton.jit
def _score(scores, at, numbers, parts, count, WIDE: tl.constexpr, SIDE: tl.constexpr):
    total = tl.zeros([SIDE], WIDE)
    for part in range(parts):
        place = (at // count * parts + part).to(tl.int64) * count + at % count
        total += tl.load(scores + place, at < numbers, 0).to(WIDE)
    return total


@triton.jit
def _or_zero(x):
    """0 in place of NaN."""
    return tl.where(x == x, x, 0)


@triton.jit
def _number(x):
    """0 in place of NaN, and large numbers in place of infinities."""
    return tl.minimum(tl.maximum(_or_zero(x), -3.4028234663852886e38), 3.4028234663852886e38)
