"""Which values are feature maps, and how their axes lie.

A feature map is a value that counts pixels (or tokens that stand for pixels) and channels: its
spatial axes are the image's, divided by a stride. Everything that surgeon looks for is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from surgeon.anatomy.given import images, origins_of, steps
from surgeon.errors import BadInput, NoSite
from surgeon.trace.axes import MOVES, VIEWS
from surgeon.trace.pixels import counts_pixels

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Node, Value
    from surgeon.trace.pixels import Axis

# Order of the axes, by their number and the one that counts channels.
_LAYOUTS = {(3, 1): "NCL", (3, 2): "NLC", (4, 1): "NCHW", (4, 3): "NHWC", (5, 1): "NCDHW", (5, 4): "NDHWC"}

# Steps after which each entry is where it was.
_KEEPING = {"add", "mul", "dropout", "contiguous", "clone", "to"}

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


class Grid(NamedTuple):
    """The sides of the map that an axis counts the pixels of, and how many entries in front belong to no pixel."""

    size: Size
    prefix: int


class Maps:
    """The feature maps of one observed run.

    Args:
        graph: the Graph of the whole network, or of a backbone inside it; its first input of rank
            4 or 5 is the image (the clip), or where there is none, what is laid out for
            the first convolution (a signal).

    >>> maps = Maps(graph); maps[value]       # a FeatureMap, or None if the value is something else
    """

    def __init__(self, graph: Graph) -> None:
        image = next((value for value in graph.inputs if len(value.shape) in (4, 5)), None) or _laid_out(graph)
        if image is None:
            shapes = "N x C x H x W (images), N x C x D x H x W (clips) or N x C x L (signals)"
            raise BadInput(f"{graph.path or 'the model'} takes no image: pass example_inputs= of shape {shapes}.")
        self.graph = graph
        self.image = image
        self.images = images(graph, image)
        self.batch = image.shape[0]
        self.dims = len(image.shape) - 2
        self._known: dict[Value, FeatureMap | None] = {}
        # What `trunk.steps` found in each graph.
        self.steps: dict[Graph, list[Any]] = {}

    def __getitem__(self, value: Value) -> FeatureMap | None:
        if value not in self._known:
            self._known[value] = self._read(value)
        return self._known[value]

    @cached_property
    def streams(self) -> list[Maps]:
        """The maps made of each image, where there are several: what is made of more than one belongs to the first."""
        if len(self.images) == 1:
            return [self]
        origins = origins_of(self.graph, self.images)
        return [Stream(self.graph, image, origins) for image in self.images]

    def is_laid_out_in(self, graph: Graph) -> bool:
        """Whether the image first has its axes in this module, which is given its entries in others."""
        return self.image not in self.graph.inputs and any(self.image in inner.makers for inner in graph.walk())

    def is_of_image(self, value: Value) -> bool:
        """Whether a value is made of the image."""
        return not value.fixed

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
        if rank == len(self.image.shape) and axis in (1, rank - 1) and not _is_cut(value):
            size = shape[2:] if axis == 1 else shape[1:-1]
            return FeatureMap(shape[axis], size, _LAYOUTS[rank, axis]) if self._fits(size) else None
        if rank == 3 and axis == 2:
            return self._tokens(value)
        if rank == 3 and axis == 1:
            return self._flat(value)
        return None

    def _fits(self, size: Size) -> bool:
        """Both sides are an image's by the same stride, give or take a pixel; one side alone always fits."""
        if len(size) == 1:
            return True
        shapes = (image.shape[-2:] for image in self.images)
        return any(abs(size[-2] * width - size[-1] * height) <= height + width for height, width in shapes)

    def _flat(self, value: Value) -> FeatureMap | None:
        """A map whose pixels were laid in one row, channels still first."""
        grid = self._grid(value, 2)
        return FeatureMap(value.shape[1], grid.size, "NCL") if grid and not grid.prefix else None

    def _tokens(self, value: Value) -> FeatureMap | None:
        """Tokens of a map, each of them one pixel, and a few more in front that stand for none."""
        grid = self._grid(value, 1)
        return FeatureMap(value.shape[2], grid.size, "NLC", grid.prefix) if grid else None

    def _windows(self, value: Value) -> FeatureMap | None:
        shape, rank, axis = value.shape, len(value.shape), value.axis
        if value.fixed or axis is None or rank not in (3, 4) or axis not in (1, rank - 1) or shape[0] % self.batch:
            return None
        if rank == 4 and shape[0] == self.batch:
            layout, windows, pixels = ("NCGL", 2, 3) if axis == 1 else ("NGLC", 1, 2)
        elif rank == 3 and axis == 2:
            layout, windows, pixels = "NLC", 0, 1
        else:
            return None
        grid = self._grid(value, pixels)
        is_cut = counts_pixels(value.counts[windows]) or shape[windows] == 1
        return FeatureMap(shape[axis], grid.size, layout) if grid and is_cut and not grid.prefix else None

    def _grid(self, value: Value, at: int) -> Grid | None:
        """What the axis `at` of a value counts, if that is the pixels of a map in rows; None if it is not."""
        axis = counted(value, at)
        sides = axis.sides if axis is not None else []
        if axis is None or not axis.is_plain or axis.after or len(sides) != self.dims:
            return None
        return Grid(tuple(axis.extent(side) for side in sides), axis.before)


class Stream(Maps):
    """Those maps that are made of one of several images, and of none that comes before it."""

    def __init__(self, graph: Graph, image: Value, origins: Mapping[Value, Value]) -> None:
        super().__init__(graph)
        self.image, self.images, self.batch = image, [image], image.shape[0]
        self._origins = origins

    def is_of_image(self, value: Value) -> bool:
        return self._origins.get(value) is self.image

    def _read(self, value: Value) -> FeatureMap | None:
        return super()._read(value) if self.is_of_image(value) else None


def _laid_out(graph: Graph) -> Value | None:
    """What a network given signals or spectrograms lays out for its first convolution: their channels are known there.

    It is a given value itself (N x C x L), or the same entries in other axes (N x L, N x T x F).
    """
    makers = graph.inner_makers
    for node in steps(graph):
        value = node.inputs[0] if node.inputs else None
        if node.op.startswith("conv") and value is not None and not value.fixed and len(value.shape) > 2:
            origin = value
            while (maker := makers.get(origin)) is not None and maker.op in MOVES | VIEWS | {"getitem"}:
                if prod(maker.inputs[0].shape) != prod(origin.shape):
                    break
                origin = maker.inputs[0]
            if origin in graph.inputs and origin.dtype.is_floating_point:
                return value
    return None


def _is_cut(value: Value) -> bool:
    """Whether an axis counts pixels of both sides: those of one window, or the windows."""
    return any(axis is not None and len(axis.sides) > 1 for axis in value.counts)


def counted(value: Value, at: int, depth: int = 8) -> Axis | None:
    """What an axis of a value counts; where that got lost in a layer, what it counts once it is added to a map."""
    axis = value.counts[at]
    if axis is not None or not depth:
        return axis
    later = (counted(result, at, depth - 1) for node in value.users for result in _alike(value, node))
    return next((found for found in later if found is not None), None)


def _alike(value: Value, node: Node) -> list[Value]:
    """The results of a step that lays its input out as it was."""
    if node.child is not None or node.op not in _KEEPING:
        return []
    return [result for result in node.outputs if result.shape == value.shape]
