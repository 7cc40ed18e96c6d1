"""What all tiles of maps share: where they lie."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile(channels, positions, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr):
    """The image, channels and positions of this program, and which of its numbers the map has."""
    across, down = tl.cdiv(positions, POSITIONS), tl.cdiv(channels, CHANNELS)
    image = (tl.program_id(0) // across // down).to(tl.int64)
    c = tl.program_id(0) // across % down * CHANNELS + tl.arange(0, CHANNELS)
    p = tl.program_id(0) % across * POSITIONS + tl.arange(0, POSITIONS)
    return image, c, p, (c < channels)[:, None] & (p < positions)[None, :]


@triton.jit
def at(x, image, c, p, x_image, x_channel, x_position, OF_C: tl.constexpr, OF_P: tl.constexpr):
    """Where the numbers of a tile lie in the map `x`."""
    down, across = c.to(tl.int64) * multiple(x_channel, OF_P), p.to(tl.int64) * multiple(x_position, OF_C)
    return x + image * multiple(x_image, OF_C * OF_P) + down[:, None] + across[None, :]


@triton.jit
def multiple(length, OF: tl.constexpr):
    """`length`, which is a multiple of `OF`: written so, the compiler knows it, and reads as many numbers at once."""
    return length // OF * OF
