"""What each axis of a value counts, followed from operator to operator.

A length can't say it: 100 tokens are the 10 x 10 pixels of a map in one place, 100 learned queries in another. So an
axis is kept as the sides of maps that it was made of, in the order in which they lie in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]


@dataclass(eq=False)
class Side:
    """Something that is counted: the rows or the columns of one map; or whatever else an axis counts.

    whole: the axis that this stands for, where that is no plain product of sides.
    """

    length: int
    of_image: bool = False
    whole: Axis | None = None


class Part(NamedTuple):
    """Every `stride`-th index of a side, `length` of them: cutting a side into windows gives two parts of it."""

    side: Side
    stride: int
    length: int


class Axis(NamedTuple):
    """The parts that an axis counts, the outermost first; `before` and `after` are entries that belong to none."""

    parts: tuple[Part, ...]
    before: int = 0
    after: int = 0

    @property
    def sides(self) -> list[Side]:
        """The sides of an image that it counts, in order."""
        return list(dict.fromkeys(part.side for part in self.parts if part.side.of_image))

    @property
    def is_plain(self) -> bool:
        """Whether it counts nothing but parts of an image's sides."""
        return bool(self.parts) and all(part.side.of_image for part in self.parts)

    def extent(self, side: Side) -> int:
        """How many indices of `side` it counts."""
        return prod(part.length for part in self.parts if part.side is side)


# One for each axis of a value; None for one of which nothing is known.
Axes = tuple[Axis | None, ...]


def a_side(length: int) -> Axis:
    """An axis that counts the rows or the columns of a new map."""
    return Axis((Part(Side(length, of_image=True), 1, length),))


def counts_pixels(axis: Axis | None) -> bool:
    return axis is not None and bool(axis.sides)


def viewed(axes: Axes, shape: Shape, target: Shape) -> Axes:
    """The axes of a value of `shape` when its entries are counted as `target`; None from where that can't be told."""
    left = [part for axis, length in zip(axes, shape) for part in _parts(axis, length)]
    found: list[Axis | None] = []
    for length in target:
        taken = _taken(left, length)
        if taken is None:
            return (*found, *(None for _ in target[len(found) :]))
        found.append(_joined(taken))
    return tuple(found)


def _parts(axis: Axis | None, length: int) -> tuple[Part, ...]:
    """The parts of an axis, as one of its own where it has others in front or nothing is known of it."""
    if axis is None or axis.before or axis.after:
        return (Part(Side(length, whole=axis), 1, length),) if length > 1 else ()
    return axis.parts


def _taken(left: list[Part], length: int) -> list[Part] | None:
    """The parts in front of `left` that make up `length`, the last one cut where it is longer; taken out of `left`."""
    taken: list[Part] = []
    while length > 1:
        if not left:
            return None
        side, stride, count = left.pop(0)
        if count > length and count % length == 0:
            left.insert(0, Part(side, stride, count // length))
            side, stride, count = side, stride * (count // length), length
        if length % count:
            return None
        taken.append(Part(side, stride, count))
        length //= count
    # The one column of a map that is as narrow as that lies behind its rows.
    while left and left[0].length == 1 and any(part.side.of_image for part in taken):
        taken.append(left.pop(0))
    return taken


def _joined(parts: Sequence[Part]) -> Axis:
    """An axis of `parts`, where those of one side that lie as they did before they were cut are one again."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and last.side is part.side and last.stride == part.stride * part.length:
            joined[-1] = Part(part.side, part.stride, last.length * part.length)
        else:
            joined.append(part)
    whole = joined[0].side.whole if len(joined) == 1 and joined[0].length == joined[0].side.length else None
    return whole or Axis(tuple(joined))


def cut(axis: Axis | None, length: int, start: int, count: int, step: int = 1) -> Axis | None:
    """An axis of `length` entries of which `count` are kept, from `start` on."""
    if axis is None or count == length:
        return axis
    before, after = axis.before - start, axis.after - (length - start - count)
    if step == 1 and (axis.before or axis.after):
        return Axis(axis.parts, before, after) if before >= 0 and after >= 0 else None
    # A map is cropped or thinned out on one side; of a row of tokens nobody can tell what is left.
    return a_side(count) if axis.is_plain and len(axis.parts) == 1 else None


def joined_on(pieces: Sequence[tuple[Axis | None, int]]) -> Axis | None:
    """The axis along which pieces of (axis, length) are laid one behind another, of which one counts pixels."""
    counting = [number for number, (axis, _) in enumerate(pieces) if counts_pixels(axis)]
    if len(counting) != 1:
        return None
    axis = pieces[counting[0]][0]
    assert axis is not None, "it counts pixels"
    before = sum(length for _, length in pieces[: counting[0]])
    after = sum(length for _, length in pieces[counting[0] + 1 :])
    return Axis(axis.parts, axis.before + before, axis.after + after)
