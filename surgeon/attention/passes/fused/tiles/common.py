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
def at(x, image, c, p, x_image, x_channel, x_position):
    """Where the numbers of a tile lie in the map `x`."""
    return x + image * x_image + (c.to(tl.int64) * x_channel)[:, None] + (p.to(tl.int64) * x_position)[None, :]
