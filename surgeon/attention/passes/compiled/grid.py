"""A map as the loops see it, and how they are called."""

from __future__ import annotations

from ctypes import Structure, c_longlong, c_void_p
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from surgeon.attention.passes.compiled.library import KINDS, library
from surgeon.attention.passes.dtypes import cast, score_dtype

# How many bytes a row has at least in numbers that are computed with: those of the longest register. Torch's operators
# do shorter ones.
LANES = 64
# Smaller maps are done before another thread has been told what to do.
ALONE = 2**15


class Shape(Structure):
    _fields_ = [("images", c_longlong), ("rows", c_longlong), ("columns", c_longlong)]


class Map(Structure):
    _fields_ = [("start", c_void_p), ("image", c_longlong), ("row", c_longlong)]


class Found(Structure):
    _fields_ = [("mean", c_void_p), ("most", c_void_p), ("first", c_void_p), ("image", c_longlong)]


class By(Structure):
    held: Any = None  # The tensors that it points into.
    _fields_ = [
        ("factor", c_void_p),
        ("mean", c_void_p),
        ("peak", c_void_p),
        ("place", c_void_p),
        ("image", c_longlong),
    ]


class Grid:
    """A map (N, C, L) as images of rows, whose columns lie side by side.

    by_channel: whether a row is a channel, and not a position.
    kind: the dtype of what is computed.
    """

    def __init__(self, x: Tensor, by_channel: bool) -> None:
        self.x, self.by_channel = x, by_channel
        images, channels, positions = x.shape
        rows, columns = (channels, positions) if by_channel else (positions, channels)
        self.shape, self.rows, self.columns = Shape(images, rows, columns), rows, columns
        self.kind = score_dtype(x.dtype)
        self.map = Map(x.data_ptr(), x.stride(0), x.stride(1 if by_channel else 2))

    @classmethod
    def of(cls, x: Tensor) -> Self | None:
        """That of a map (N, C, *spatial); None where loops can't be had, or would gain nothing."""
        if x.dtype not in KINDS or x.device.type != "cpu":
            return None
        x = x.flatten(2)
        least = LANES // score_dtype(x.dtype).itemsize
        by_channel = x.stride(2) == 1 and x.shape[2] >= least
        if not by_channel and (x.stride(1) != 1 or x.shape[1] < least):
            return None
        return None if library(x.dtype) is None else cls(x, by_channel)

    @classmethod
    def of_any(cls, x: Tensor) -> Self | None:
        """The same; that of a copy where `x` lies in no order, as one number said again for many does."""
        return cls.of(x if 1 in x.stride()[1:] else x.contiguous())

    def alike(self, x: Tensor) -> Self:
        """That of `x`, which has this one's shape; a copy in the same order, if it lies otherwise."""
        axis = 2 if self.by_channel else 1
        if x.stride(axis) != 1:
            copy = self.empty()
            copy.x.copy_(x)
            return copy
        return type(self)(x, self.by_channel)

    def empty(self) -> Self:
        """That of a new map in the same order."""
        images, channels, positions = self.x.shape
        if self.by_channel:
            return type(self)(self.x.new_empty(images, channels, positions), True)
        return type(self)(self.x.new_empty(images, positions, channels).mT, False)

    def sides(self, of_channels: Any, of_positions: Any) -> tuple[Any, Any]:
        """What belongs to the rows, and what to the columns; and the way back."""
        return (of_channels, of_positions) if self.by_channel else (of_positions, of_channels)

    def new(self, *shape: int) -> Tensor:
        """Numbers for each image."""
        return self.x.new_empty((len(self.x), *shape), dtype=self.kind)

    def each(self, axis: int, values: Tensor | None, otherwise: float | None = None) -> Any:
        """`values` as the loops read them: one for each image, and channel (axis 1) or position (2) of the map."""
        shape = (len(self.x), self.x.shape[axis])
        if values is None:
            return None if otherwise is None else self.x.new_full(shape, otherwise, dtype=self.kind)
        if values.shape != shape:
            values = values.expand(shape)
        return _dense(cast(values, self.kind))

    def chunks(self) -> int:
        """In how many parts sums over the rows come."""
        return self._loops("chunks")(self.shape)

    def run(self, name: str, *given: Any) -> None:
        """The loops of that name over this map."""
        threads = torch.get_num_threads() if self.x.numel() > ALONE else 1
        self._loops(name)(self.shape, self.map, *map(_raw, given), threads)

    def _loops(self, name: str) -> Any:
        return getattr(library(self.x.dtype), name)


def by(factor: Tensor | None, pair: Tensor | None, max_first: bool, place: Tensor | None) -> By:
    """What a gradient gets by channels or by positions; nothing without a `pair`.

    Args:
        pair: the gradients of mean and maximum (N, 2, numbers), or of a mean alone (N, numbers).
    """
    if pair is None:
        return By()
    pair = _dense(pair)
    place = None if place is None else _dense(place.to(torch.int32))
    one, other = pair.data_ptr(), pair.data_ptr() + pair.shape[-1] * pair.itemsize
    mean, peak = (other, one) if max_first else (one, other)
    ends = (None if value is None else value.data_ptr() for value in (factor, place))
    found = By(next(ends), mean, peak if pair.dim() == 3 else None, next(ends), pair.stride(0))
    found.held = (factor, pair, place)
    return found


def _dense(x: Tensor) -> Tensor:
    return x if x.is_contiguous() else x.contiguous()


def _raw(value: Any) -> Any:
    """`value` as C has it."""
    if value is None:
        return c_void_p()
    if isinstance(value, Tensor):
        return c_void_p(value.data_ptr())
    return value.map if isinstance(value, Grid) else value
