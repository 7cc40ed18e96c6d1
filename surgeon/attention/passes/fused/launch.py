"""How kernels are started: what a program works on, and how many there are."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from math import ceil, gcd
from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor

from surgeon.attention.passes.dtypes import score_dtype


class Tile(NamedTuple):
    """What a program works on at a time: how many numbers, how many of them side by side, with how many warps."""

    numbers: int
    line: int
    warps: int


# By pass and by the least number of positions: where numbers of one column lie side by side, and where those of one row
# do. The fastest of many at the stages of a ResNet-50 on an H200, with bfloat16 and a batch of 128; but of rows, in
# `weighted` and, on small maps, in `product`, `sums` and `spread`, those that read least beside the map, with no more
# instructions. Rows are channels, columns positions; in `squeeze` the other way round.
TILES = {
    "pools": {
        1024: (Tile(2048, 64, 8), Tile(2048, 256, 4)),
        512: (Tile(2048, 64, 1), Tile(512, 64, 4)),
        128: (Tile(2048, 128, 2), Tile(512, 16, 2)),
        0: (Tile(2048, 256, 1), Tile(512, 16, 1)),
    },
    "squeeze": {
        1024: (Tile(1024, 64, 2), Tile(1024, 64, 4)),
        512: (Tile(1024, 16, 1), Tile(1024, 64, 4)),
        0: (Tile(1024, 16, 2), Tile(1024, 64, 4)),
    },
    "product": {512: (Tile(2048, 128, 4), Tile(4096, 256, 8)), 0: (Tile(2048, 128, 4), Tile(2048, 256, 4))},
    "sums": {0: (Tile(2048, 256, 2), Tile(2048, 64, 2))},
    "weighted": {512: (Tile(2048, 64, 4), Tile(2048, 64, 2)), 0: (Tile(1024, 64, 2), Tile(2048, 64, 2))},
    "spread": {
        512: (Tile(4096, 64, 4), Tile(4096, 64, 4)),
        128: (Tile(4096, 64, 4), Tile(4096, 128, 4)),
        0: (Tile(4096, 64, 4), Tile(2048, 64, 4)),
    },
    "blend": {0: (Tile(2048, 256, 4), Tile(2048, 256, 2))},
    "blend_sums": {0: (Tile(2048, 256, 2), Tile(2048, 64, 2))},
}
# So many programs keep any GPU busy.
PROGRAMS = 1024


def start(kernel: Any, programs: int, warps: int, *given: Any, **constants: Any) -> None:
    """Run `programs` of `kernel` on the device of the tensors that are `given`."""
    device = next(value for value in given if isinstance(value, Tensor)).device
    # Triton looks at the current device, and not at that of what it is given.
    is_current = device.type != "cuda" or device.index == torch.cuda.current_device()
    with nullcontext() if is_current else torch.cuda.device(device):
        kernel[(programs,)](*given, num_warps=warps, **constants)


def tiled(kernel: Any, x: Tensor, given: tuple[Any, ...], maps: tuple[Tensor, ...], **how: Any) -> None:
    """Run `kernel` on each tile of the map `x` (N, C, L)."""
    images, channels, positions = x.shape
    down, across, warps = sides(kernel.__name__, x, positions)
    programs = images * ceil(channels / down) * ceil(positions / across)
    how = {**how, **_constants(x, down, across, *maps)}
    start(kernel, programs, warps, *given, channels, positions, *_strides(*maps), **how)


def _constants(x: Tensor, down: int, across: int, *maps: Tensor) -> dict[str, Any]:
    of_channels, of_positions = multiples(*maps)
    return {"WIDE": wide(x), "CHANNELS": down, "POSITIONS": across, "OF_C": of_channels, "OF_P": of_positions}


def _strides(*maps: Tensor) -> tuple[int, ...]:
    return tuple(stride for map_ in maps for stride in map_.stride())


class Parts:
    """How sums over the map `x` (N, C, L) are cut: into chunks of positions, as long as they can be while there are
    programs enough, and into blocks of channels."""

    def __init__(self, name: str, x: Tensor) -> None:
        images, channels, positions = x.shape
        self.x = x
        self.down, self.across, self.warps = sides(name, x, positions)
        self.blocks = ceil(channels / self.down)
        wanted = min(ceil(PROGRAMS / (images * self.blocks)), ceil(positions / self.across))
        self.chunk = ceil(ceil(positions / wanted) / self.across) * self.across
        self.chunks = ceil(positions / self.chunk)

    @property
    def programs(self) -> int:
        return self.x.shape[0] * self.blocks * self.chunks

    def results(self) -> tuple[Tensor, Tensor]:
        """Room for what channels get from each chunk, and positions from each block."""
        images, channels, positions = self.x.shape
        shapes = ((images, self.chunks, channels), (images, self.blocks, positions))
        one, other = (self.x.new_empty(shape, dtype=score_dtype(self.x.dtype)) for shape in shapes)
        return one, other

    def run(self, kernel: Any, g: Tensor | None, x: Tensor, *given: Tensor | None, **how: Any) -> None:
        maps = (x if g is None else g, x)
        small = (g, x, *given, *x.shape[1:], self.chunk, *_strides(*maps))
        how = {**how, **_constants(x, self.down, self.across, *maps)}
        start(kernel, self.programs, self.warps, *small, **how)


def whole(parts: Any) -> Any:
    """The sum of partial sums (N, parts, numbers)."""
    return parts if parts is None else parts.squeeze(1) if parts.shape[1] == 1 else parts.sum(1)


def sides(name: str, x: Tensor, positions: int) -> tuple[int, int, int]:
    """The sides of a tile of `x` (N, rows, columns), a map of so many positions: down and across; and its warps."""
    return _sides(name, *x.shape[1:], *x.stride()[1:], positions)


@lru_cache(1024)
def _sides(name: str, rows: int, columns: int, row: int, column: int, positions: int) -> tuple[int, int, int]:
    of_columns, of_rows = next(tiles for least, tiles in TILES[name].items() if positions >= least)
    if columns == 1 or (rows > 1 and row < column):
        down = min(_power(rows), of_columns.line)
        return down, min(_power(columns), of_columns.numbers // down), of_columns.warps
    across = min(_power(columns), of_rows.line)
    return min(_power(rows), of_rows.numbers // across), across, of_rows.warps


def _power(length: int) -> int:
    """The next power of two."""
    return 1 << (length - 1).bit_length()


def multiples(*maps: Tensor) -> tuple[int, int]:
    """What the numbers of rows and of columns of all maps (N, rows, columns) are multiples of, 16 at most: of those
    that lie side by side, if so do the lengths from one line to the next."""
    return _multiples(maps[0].shape, *(map_.stride() for map_ in maps))


@lru_cache(1024)
def _multiples(shape: tuple[int, ...], *strides: tuple[int, ...]) -> tuple[int, int]:
    images, rows, columns = zip(*strides)
    if {*columns} == {1}:
        return 1, gcd(16, shape[2], *rows, *images)
    if {*rows} == {1}:
        return gcd(16, shape[1], *columns, *images), 1
    return 1, 1


def wide(x: Tensor) -> Any:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def dense(x: Any) -> Any:
    return None if x is None else x.contiguous()
