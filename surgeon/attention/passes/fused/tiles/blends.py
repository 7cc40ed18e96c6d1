"""A score for each number of a map, of one for its channel and one for its position."""

from __future__ import annotations

import triton
import triton.language as tl

from surgeon.attention.passes.fused.tiles.common import at, multiple, tile


@triton.jit
def blend(
    x, a, b, offset, factor, y,
    channels, positions, x_image, x_channel, x_position, y_image, y_channel, y_position,
    HOW: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
    OF_C: tl.constexpr, OF_P: tl.constexpr,
):  # fmt: skip
    """`y = x * (offset + factor * sigmoid(a combined with b))`."""
    channels, positions = multiple(channels, OF_C), multiple(positions, OF_P)
    image, c, p, inside = tile(channels, positions, CHANNELS, POSITIONS)
    one = tl.load(a + image * channels + c, c < channels, 0)[:, None]
    other = tl.load(b + image * positions + p, p < positions, 0)[None, :]
    scale = tl.load(offset) + tl.load(factor) * tl.sigmoid(_combined(one, other, HOW))
    value = tl.load(at(x, image, c, p, x_image, x_channel, x_position, OF_C, OF_P), inside).to(WIDE) * scale
    tl.store(at(y, image, c, p, y_image, y_channel, y_position, OF_C, OF_P), value.to(y.dtype.element_ty), inside)


@triton.jit
def blend_sums(
    g, x, a, b, of_channels, of_positions, of_acts,
    channels, positions, chunk,
    g_image, g_channel, g_position, x_image, x_channel, x_position,
    HOW: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
    OF_C: tl.constexpr, OF_P: tl.constexpr,
):  # fmt: skip
    """What the scores get from each chunk of positions and each block of channels, and what each program has for acts.

    As if `factor` were 1. The acts are the sums of `g * x`, and of that times the sigmoid.
    """
    channels, positions = multiple(channels, OF_C), multiple(positions, OF_P)
    chunks, blocks = tl.cdiv(positions, chunk), tl.cdiv(channels, CHANNELS)
    part = tl.program_id(0) % chunks
    block = tl.program_id(0) // chunks % blocks
    image = (tl.program_id(0) // chunks // blocks).to(tl.int64)
    c = block * CHANNELS + tl.arange(0, CHANNELS)
    one = tl.load(a + image * channels + c, c < channels, 0)[:, None]
    total = tl.zeros([CHANNELS, POSITIONS], WIDE)
    # Of each column: as many sums as the tile has numbers would need more registers than there are.
    offset = tl.zeros([POSITIONS], WIDE)
    factor = tl.zeros([POSITIONS], WIDE)
    last = tl.minimum(part * chunk + chunk, positions)
    for first in range(part * chunk, last, POSITIONS):
        p = first + tl.arange(0, POSITIONS)
        inside = (c < channels)[:, None] & (p < last)[None, :]
        other = tl.load(b + image * positions + p, p < last, 0)[None, :]
        both = tl.load(at(x, image, c, p, x_image, x_channel, x_position, OF_C, OF_P), inside, 0).to(WIDE)
        both *= tl.load(at(g, image, c, p, g_image, g_channel, g_position, OF_C, OF_P), inside, 0).to(WIDE)
        scale = tl.sigmoid(_combined(one, other, HOW))
        if of_acts is not None:
            offset += tl.sum(both, 0)
            factor += tl.sum(both * scale, 0)
        value = both * scale * (1 - scale)
        along = tl.sum(value * _partial(other, one, HOW), 0)
        tl.store(of_positions + (image * blocks + block) * positions + p, along, p < last)
        total += value * _partial(one, other, HOW)
    tl.store(of_channels + (image * chunks + part) * channels + c, tl.sum(total, 1), c < channels)
    if of_acts is not None:
        own = of_acts + tl.program_id(0).to(tl.int64) * 2
        tl.store(own, tl.sum(offset))
        tl.store(own + 1, tl.sum(factor))


@triton.jit
def _combined(a, b, HOW: tl.constexpr):
    if HOW == "sum":
        score = a + b
    elif HOW == "product":
        score = a * b
    else:
        score = tl.maximum(a, b)
    return score


@triton.jit
def _partial(a, b, HOW: tl.constexpr):
    """The derivative of both combined by `a`. Equals share a maximum."""
    if HOW == "sum":
        share = tl.full([1, 1], 1, a.dtype)
    elif HOW == "product":
        share = b
    else:
        share = tl.where(a > b, 1.0, tl.where(a == b, 0.5, 0.0)).to(a.dtype)
    return share
