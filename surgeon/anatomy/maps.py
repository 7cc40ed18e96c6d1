"""Which values are feature maps, and how their axes lie.

A feature map is a value that counts pixels (or tokens that stand for pixels) and channels: its
spatial axes are the image's, divided by a stride. Everything that surgeon looks for is one.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from surgeon.errors import BadInput

# A class token, register tokens, distillation tokens: no network known has more in front of a map.
MOST_PREFIX = 16


@dataclass(frozen=True)
class FeatureMap:
    """Channels, size in pixels (height and width, with depth in front for video), layout, prefix tokens."""

    channels: int
    size: tuple[int, ...]
    layout: str
    prefix: int = 0

    def __str__(self):
        return f"a map of {' x '.join(map(str, (self.channels, *self.size)))} ({self.layout})"

    @property
    def pixels(self):
        return prod(self.size)


class Maps:
    """The feature maps of one observed run.

    Args:
        graph: the Graph of the whole network, or of a backbone inside it; its first input of rank
            4 or 5 is the image (the clip).

    >>> maps = Maps(graph); maps[value]       # a FeatureMap, or None if the value is something else
    """

    def __init__(self, graph):
        self.graph = graph
        self.image = next((value for value in graph.inputs if len(value.shape) in (4, 5)), None)
        if self.image is None:
            raise BadInput(f"{graph.path or 'the model'} takes no image: pass example_inputs= of shape N x C x H x W.")
        self.batch = self.image.shape[0]
        self._known = {}

    def __getitem__(self, value):
        if value not in self._known:
            self._known[value] = self._read(value)
        return self._known[value]

    def grouped(self, value):
        """As `maps[value]`, or the map of each window where a value holds the image in windows, one by one.

        Windows (MaxViT, NesT) and interleaved pixels (MobileViT) lie in the batch axis or one of their
        own; a site may lie there, but no such value is the way of the whole map.
        """
        return self[value] or self._windows(value)

    def described(self, value):
        """What a value is, in words: `a map of 256 x 56 x 56 (NCHW)`, or that it is none."""
        shape = " x ".join(map(str, value.shape)) or "that of a number"
        return str(self.grouped(value) or f"no feature map, its shape is {shape}")

    def _windows(self, value):
        shape, rank = value.shape, len(value.shape)
        if value.fixed or rank not in (3, 4) or value.axis not in (1, rank - 1) or shape[0] % self.batch:
            return None
        if rank == 4 and shape[0] == self.batch:
            layout, windows, pixels = ("NCGL", shape[2], shape[3]) if value.axis == 1 else ("NGLC", shape[1], shape[2])
        elif rank == 3 and value.axis == 2:
            layout, windows, pixels = "NLC", shape[0] // self.batch, shape[1]
        else:
            return None
        size = self._window(value, windows, pixels)
        return size and FeatureMap(shape[value.axis], size, layout)

    def _window(self, value, windows, pixels):
        """Height and width of one of so many windows that make up the map seen last; None if they don't."""
        whole = next((size for order, size in reversed(self._sizes) if order < value.order and prod(size) == windows * pixels), None)
        # An image that was cut into windows before any convolution has no such map.
        whole = whole or next((grid for grid in self._cuts() if prod(grid) == windows * pixels), None)
        parts = round(windows**0.5)
        if whole is None or parts**2 != windows or any(side % parts for side in whole[-2:]):
            return None
        return tuple(side // parts for side in whole)

    def _read(self, value):
        shape, axis = value.shape, 1 if value is self.image else value.axis
        if value.fixed or axis is None or not shape or shape[0] != self.batch:
            return None
        rank = len(shape)
        if rank == len(self.image.shape) and axis in (1, rank - 1):
            size = shape[2:] if axis == 1 else shape[1:-1]
            name = {(4, 1): "NCHW", (4, 3): "NHWC", (5, 1): "NCDHW", (5, 4): "NDHWC"}[rank, axis]
            return FeatureMap(shape[axis], size, name) if self._fits(size) else None
        if rank == 3 and axis == 2:
            return self._tokens(value)
        if rank == 3 and axis == 1:
            return self._flat(value)
        return None

    def _flat(self, value):
        """A map whose pixels were laid in one row, channels still first: as many as the map seen last."""
        size = next((size for order, size in reversed(self._sizes) if order < value.order and prod(size) == value.shape[2]), None)
        return size and FeatureMap(value.shape[1], size, "NCL")

    def _fits(self, size):
        """Both sides are the image's by the same stride, give or take a pixel."""
        height, width = self.image.shape[-2:]
        return abs(size[-2] * width - size[-1] * height) <= height + width

    def _tokens(self, value):
        """Tokens are the pixels of the map seen last that has as many, or nearly as many, pixels."""
        length = value.shape[1]
        for order, size in reversed(self._sizes):
            if order < value.order and 0 <= length - prod(size) <= min(MOST_PREFIX, prod(size) // 4):
                return FeatureMap(value.shape[2], size, "NLC", length - prod(size))
        return self._pooled_tokens(value)

    def _pooled_tokens(self, value):
        """Tokens that were thinned out as tokens: the grid of some earlier map, halved."""
        length = value.shape[1]
        for order, size in reversed(self._sizes):
            for factor in (2, 4, 8):
                grid = (*size[:-2], *(-(-side // factor) for side in size[-2:]))
                if order < value.order and prod(grid) > 1 and 0 <= length - prod(grid) <= min(MOST_PREFIX, prod(grid) // 4):
                    return FeatureMap(value.shape[2], grid, "NLC", length - prod(grid))
        return self._cut_tokens(value)

    def _cut_tokens(self, value):
        """Tokens of an image that was cut into square patches without any convolution."""
        for grid in self._cuts():
            if 0 <= value.shape[1] - prod(grid) <= min(MOST_PREFIX, prod(grid) // 4):
                return FeatureMap(value.shape[2], grid, "NLC", value.shape[1] - prod(grid))
        return None

    def _cuts(self):
        """The grids of square patches that the image can be cut into, the finest first."""
        height, width = self.image.shape[-2:]
        return [(height // side, width // side) for side in range(4, 65) if height % side == width % side == 0]

    @cached_property
    def _sizes(self):
        """(order, size) of all maps with axes of their own, in order of execution."""
        values = {value for graph in self.graph.walk() for value in (*graph.inputs, *(v for node in graph.nodes for v in node.outputs))}
        spatial = [value for value in values if len(value.shape) == len(self.image.shape) and self[value]]
        return sorted((value.order, self[value].size) for value in spatial if self[value].pixels > 1)
