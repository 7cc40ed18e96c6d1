"""The passes over a map."""

from __future__ import annotations

import triton
import triton.language as tl

from surgeon.attention.passes.fused.tiles.common import at, multiple, tile


@triton.jit
def pools(
    x, factors, pairs, places, kept, count, x_image, x_kept, x_count,
    LAST_FIRST: tl.constexpr, MAX_FIRST: tl.constexpr, WIDE: tl.constexpr, KEEP: tl.constexpr, STEP: tl.constexpr,
    OF_KEPT: tl.constexpr, OF_COUNT: tl.constexpr,
):  # fmt: skip
    """Mean and maximum of `x * factors` along one axis, and the place of the first maximum."""
    kept, count = multiple(kept, OF_KEPT), multiple(count, OF_COUNT)
    x_kept, x_count = multiple(x_kept, OF_COUNT), multiple(x_count, OF_KEPT)
    blocks = tl.cdiv(kept, KEEP)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    if LAST_FIRST:
        # What the pass before this one read last may still be in the cache.
        image = tl.num_programs(0) // blocks - 1 - image
    keep = tl.program_id(0) % blocks * KEEP + tl.arange(0, KEEP)
    total = tl.zeros([KEEP, STEP], WIDE)
    most = tl.full([KEEP, STEP], float("-inf"), WIDE)
    place = tl.zeros([KEEP, STEP], tl.int32)
    start = x + image * multiple(x_image, OF_KEPT * OF_COUNT) + (keep.to(tl.int64) * x_kept)[:, None]
    for first in range(0, count, STEP):
        step = first + tl.arange(0, STEP)
        inside = (keep < kept)[:, None] & (step < count)[None, :]
        value = tl.load(start + (step.to(tl.int64) * x_count)[None, :], inside, 0).to(WIDE)
        if factors is not None:
            value *= tl.load(factors + image * count + step, step < count, 0)[None, :]
        total += value
        value = tl.where(inside, value, float("-inf"))
        if places is not None:
            place = tl.where(value > most, step[None, :], place)
        most = tl.maximum(most, value)
    mean = tl.sum(total, 1) / count
    peak = tl.max(most, 1)
    one = pairs + image * 2 * kept + keep
    tl.store(one + kept if MAX_FIRST else one, mean, keep < kept)
    # A NaN has made the sum one, and not the maximum.
    tl.store(one if MAX_FIRST else one + kept, tl.where(mean == mean, peak, mean), keep < kept)
    if places is not None:
        tl.store(
            places + image * kept + keep, tl.min(tl.where(most == peak[:, None], place, count - 1), 1), keep < kept
        )


@triton.jit
def product(
    x, s, t, y,
    channels, positions, x_image, x_channel, x_position, y_image, y_channel, y_position,
    WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
    OF_C: tl.constexpr, OF_P: tl.constexpr,
):  # fmt: skip
    """`y = x * s * t`."""
    channels, positions = multiple(channels, OF_C), multiple(positions, OF_P)
    image, c, p, inside = tile(channels, positions, CHANNELS, POSITIONS)
    value = tl.load(at(x, image, c, p, x_image, x_channel, x_position, OF_C, OF_P), inside).to(WIDE)
    if s is not None:
        value *= tl.load(s + image * channels + c, c < channels, 0)[:, None]
    if t is not None:
        value *= tl.load(t + image * positions + p, p < positions, 0)[None, :]
    tl.store(at(y, image, c, p, y_image, y_channel, y_position, OF_C, OF_P), value.to(y.dtype.element_ty), inside)


@triton.jit
def sums(
    g, x, s, t, squeezed, places, of_channels, of_positions,
    channels, positions, chunk,
    g_image, g_channel, g_position, x_image, x_channel, x_position,
    MAX_FIRST: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
    OF_C: tl.constexpr, OF_P: tl.constexpr,
):  # fmt: skip
    """The sums of `g * x * t` over each chunk of positions, and of `g * x * s` over each block of channels.

    Or, in place of `t`, what the gradients of mean and maximum over the channels, `squeezed`, give to a channel.
    """
    channels, positions = multiple(channels, OF_C), multiple(positions, OF_P)
    chunks, blocks = tl.cdiv(positions, chunk), tl.cdiv(channels, CHANNELS)
    part = tl.program_id(0) % chunks
    block = tl.program_id(0) // chunks % blocks
    image = (tl.program_id(0) // chunks // blocks).to(tl.int64)
    c = block * CHANNELS + tl.arange(0, CHANNELS)
    if s is not None:
        factor = tl.load(s + image * channels + c, c < channels, 0)[:, None]
    total = tl.zeros([CHANNELS, POSITIONS], WIDE)
    last = tl.minimum(part * chunk + chunk, positions)
    for first in range(part * chunk, last, POSITIONS):
        p = first + tl.arange(0, POSITIONS)
        inside = (c < channels)[:, None] & (p < last)[None, :]
        value = tl.load(at(x, image, c, p, x_image, x_channel, x_position, OF_C, OF_P), inside, 0).to(WIDE)
        if g is not None:
            value *= tl.load(at(g, image, c, p, g_image, g_channel, g_position, OF_C, OF_P), inside, 0).to(WIDE)
        if of_positions is not None:
            along = tl.sum(value if s is None else value * factor, 0)
            tl.store(of_positions + (image * blocks + block) * positions + p, along, p < last)
        if of_channels is not None:
            if t is not None:
                value *= tl.load(t + image * positions + p, p < last, 0)[None, :]
            if squeezed is not None:
                value *= _of_squeezed(squeezed, places, image, c, p, channels, positions, p < last, MAX_FIRST)
            total += value
    if of_channels is not None:
        tl.store(of_channels + (image * chunks + part) * channels + c, tl.sum(total, 1), c < channels)


@triton.jit
def spread(
    g, s, t, squeezed, squeezed_at, pooled, pooled_at, averaged, y,
    channels, positions, g_image, g_channel, g_position, y_image, y_channel, y_position,
    INSIDE: tl.constexpr, MAX_FIRST: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
    OF_C: tl.constexpr, OF_P: tl.constexpr,
):  # fmt: skip
    """The gradient of the map."""
    channels, positions = multiple(channels, OF_C), multiple(positions, OF_P)
    image, c, p, inside = tile(channels, positions, CHANNELS, POSITIONS)
    is_c, is_p = c < channels, p < positions
    value = tl.load(at(g, image, c, p, g_image, g_channel, g_position, OF_C, OF_P), inside).to(WIDE)
    if t is not None:
        value *= tl.load(t + image * positions + p, is_p, 0)[None, :]
    if squeezed is not None:
        of_squeezed = _of_squeezed(squeezed, squeezed_at, image, c, p, channels, positions, is_p, MAX_FIRST)
        if INSIDE:
            value += of_squeezed
    if s is not None:
        value *= tl.load(s + image * channels + c, is_c, 0)[:, None]
    if squeezed is not None:
        if not INSIDE:
            value += of_squeezed
    if averaged is not None:
        value += tl.load(averaged + image * channels + c, is_c, 0)[:, None] / positions
    if pooled is not None:
        place = tl.load(pooled_at + image * channels + c, is_c, -1)[:, None]
        of_peak = tl.load(pooled + (2 * image + 1) * channels + c, is_c, 0)[:, None]
        value += tl.load(pooled + 2 * image * channels + c, is_c, 0)[:, None] / positions
        value += tl.where(p[None, :] == place, of_peak, 0)
    tl.store(at(y, image, c, p, y_image, y_channel, y_position, OF_C, OF_P), value.to(y.dtype.element_ty), inside)


@triton.jit
def _of_squeezed(squeezed, places, image, c, p, channels, positions, is_p, MAX_FIRST: tl.constexpr):
    """What each number of a tile gets from the gradients of mean and maximum over the channels."""
    one = squeezed + 2 * image * positions + p
    of_mean = tl.load(one + positions if MAX_FIRST else one, is_p, 0)[None, :] / channels
    of_max = tl.load(one if MAX_FIRST else one + positions, is_p, 0)[None, :]
    place = tl.load(places + image * positions + p, is_p, -1)[None, :]
    return tl.where(c[:, None] == place, of_mean + of_max, of_mean)
