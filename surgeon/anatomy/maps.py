"""Which values are feature maps, and how their axes lie.

A feature map is a value that counts pixels (or tokens that stand for pixels) and channels: its
spatial axes are the image's, divided by a stride. Everything that surgeon looks for is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from surgeon.errors import BadInput, NoSite

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Value

# A class token, register tokens, distillation tokens: no known network has more in front of a map.
MOST_PREFIX = 16
# How far tokens are thinned out on each side of their grid.
POOLING = 2, 4, 8
# Sides of the square patches that an image is cut into without a convolution.
PATCHES = range(4, 65)
# Order of the axes, by their number and the one that counts channels.
_LAYOUTS = {(3, 1): "NCL", (3, 2): "NLC", (4, 1): "NCHW", (4, 3): "NHWC", (5, 1): "NCDHW", (5, 4): "NDHWC"}

Size = tuple[int, ...]


@dataclass(frozen=True)
class FeatureMap:
    """Channels, size in pixels (height and width, with depth in front for video), layout, prefix tokens."""

    channels: int
    size: Size
    layout: str
    prefix: int = 0

    def __str__(self) -> str:
        return f"a map of {' x '.join(map(str, (self.channels, *self.size)))} ({self.layout})"

    @property
    def pixels(self) -> int:
        return prod(self.size)


class Maps:
    """The feature maps of one observed run.

    Args:
        graph: the Graph of the whole network, or of a backbone inside it; its first input of rank
            4 or 5 is the image (the clip), or where there is none, one of rank 3 (a signal).

    >>> maps = Maps(graph); maps[value]       # a FeatureMap, or None if the value is something else
    """

    def __init__(self, graph: Graph) -> None:
        image = next((value for value in graph.inputs if len(value.shape) in (4, 5)), None) or _signal(graph)
        if image is None:
            shapes = "N x C x H x W (images), N x C x D x H x W (clips) or N x C x L (signals)"
            raise BadInput(f"{graph.path or 'the model'} takes no image: pass example_inputs= of shape {shapes}.")
        self.graph = graph
        self.image = image
        self.batch = image.shape[0]
        self._known: dict[Value, FeatureMap | None] = {}

    def __getitem__(self, value: Value) -> FeatureMap | None:
        if value not in self._known:
            self._known[value] = self._read(value)
        return self._known[value]

    def known(self, value: Value) -> FeatureMap:
        """As `maps[value]`, for a value that has to be a map.

        Raises:
            NoSite: it is none.
        """
        found = self[value]
        if found is None:
            raise NoSite(f"the rule's find is no whole map ({self.described(value)}): narrow it, as with rank: map.")
        return found

    def grouped(self, value: Value) -> FeatureMap | None:
        """As `maps[value]`, or the map of one window where a value holds the image cut into windows.

        Windows (MaxViT, NesT) and interleaved pixels (MobileViT) lie in the batch axis or one of their
        own. A site may be there, but the trunk doesn't pass through such a value.
        """
        return self[value] or self._windows(value)

    def described(self, value: Value) -> str:
        """What a value is, in words: `a map of 256 x 56 x 56 (NCHW)`, or that it is none."""
        shape = " x ".join(map(str, value.shape)) or "that of a number"
        return str(self.grouped(value) or f"no feature map, its shape is {shape}")

    def _read(self, value: Value) -> FeatureMap | None:
        shape, axis = value.shape, 1 if value is self.image else value.axis
        if value.fixed or axis is None or not shape or shape[0] != self.batch:
            return None
        rank = len(shape)
        if rank == len(self.image.shape) and axis in (1, rank - 1):
            size = shape[2:] if axis == 1 else shape[1:-1]
            return FeatureMap(shape[axis], size, _LAYOUTS[rank, axis]) if self._fits(size) else None
        if rank == 3 and axis == 2:
            return self._tokens(value)
        if rank == 3 and axis == 1:
            return self._flat(value)
        return None

    def _fits(self, size: Size) -> bool:
        """Both sides are the image's by the same stride, give or take a pixel; one side alone always fits."""
        if len(size) == 1:
            return True
        height, width = self.image.shape[-2:]
        return abs(size[-2] * width - size[-1] * height) <= height + width

    def _flat(self, value: Value) -> FeatureMap | None:
        """A map whose pixels were laid in one row, channels still first: as many as the latest map has."""
        pixels = value.shape[2]
        size = next((size for size in self._earlier(value) if prod(size) == pixels), None)
        return FeatureMap(value.shape[1], size, "NCL") if size else None

    def _tokens(self, value: Value) -> FeatureMap | None:
        """Tokens stand for the first grid that has as many pixels; a few more tokens are a prefix."""
        for grid in self._grids(value):
            prefix = value.shape[1] - prod(grid)
            if 0 <= prefix <= min(MOST_PREFIX, prod(grid) // 4):
                return FeatureMap(value.shape[2], grid, "NLC", prefix)
        return None

    def _grids(self, value: Value) -> Iterator[Size]:
        """All grids that the tokens in `value` may stand for, the likeliest first."""
        earlier = self._earlier(value)
        yield from earlier
        # Tokens may be thinned out as tokens, and no map of the smaller size is ever made.
        pooled = (_pooled(size, factor) for size in earlier for factor in POOLING)
        yield from (grid for grid in pooled if prod(grid) > 1)
        # An image may be cut into patches without any convolution.
        yield from self._cuts()

    def _windows(self, value: Value) -> FeatureMap | None:
        shape, rank, axis = value.shape, len(value.shape), value.axis
        if value.fixed or axis is None or rank not in (3, 4) or axis not in (1, rank - 1) or shape[0] % self.batch:
            return None
        if rank == 4 and shape[0] == self.batch:
            layout, windows, pixels = ("NCGL", shape[2], shape[3]) if axis == 1 else ("NGLC", shape[1], shape[2])
        elif rank == 3 and axis == 2:
            layout, windows, pixels = "NLC", shape[0] // self.batch, shape[1]
        else:
            return None
        size = self._window_size(value, windows, pixels)
        return FeatureMap(shape[axis], size, layout) if size else None

    def _window_size(self, value: Value, windows: int, pixels: int) -> Size | None:
        """The size of one of so many windows that make up the latest map; None if they don't."""
        # An image that was cut into windows before any convolution has no such map.
        wholes = (*self._earlier(value), *self._cuts())
        whole = next((size for size in wholes if prod(size) == windows * pixels), None)
        parts = round(windows**0.5)
        if whole is None or parts**2 != windows or any(side % parts for side in whole[-2:]):
            return None
        return tuple(side // parts for side in whole)

    def _cuts(self) -> list[Size]:
        """The grids of square patches that the image can be cut into, the finest first."""
        height, width = self.image.shape[-2:]
        return [(height // side, width // side) for side in PATCHES if height % side == width % side == 0]

    def _earlier(self, value: Value) -> list[Size]:
        """The sizes of the maps made before `value`, the latest first."""
        return [size for order, size in reversed(self._sizes) if order < value.order]

    @cached_property
    def _sizes(self) -> list[tuple[int, Size]]:
        """(order, size) of all maps with axes of their own, in order of execution."""
        graphs = list(self.graph.walk())
        values = {value for graph in graphs for value in graph.inputs}
        values |= {value for graph in graphs for node in graph.nodes for value in node.outputs}
        spatial = ((value, self[value]) for value in values if len(value.shape) == len(self.image.shape))
        return sorted((value.order, found.size) for value, found in spatial if found and found.pixels > 1)


def _signal(graph: Graph) -> Value | None:
    """The input of rank 3 that is convolved along its one side; tokens and spectrograms have no channels there."""
    convolved = {
        value for inner in graph.walk() for node in inner.nodes if node.op == "conv1d" for value in node.inputs
    }
    return next((value for value in graph.inputs if len(value.shape) == 3 and value in convolved), None)


def _pooled(size: Size, factor: int) -> Size:
    """`size` with height and width divided by `factor`, rounded up."""
    return (*size[:-2], *(-(-side // factor) for side in size[-2:]))
