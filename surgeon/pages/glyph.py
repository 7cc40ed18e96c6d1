"""The small drawing of one unit: a box as high as its map is large and as wide as it has channels; sites are dots.

The line through the middle is the branch, the bow over the box its shortcut. It is drawn with classes alone, so that
a page and a picture may each bring their colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from surgeon.pages.sketch import Box, Mark

# Room above a box for the bow of its shortcut, and below it.
ABOVE, BELOW = 9, 2
# Before and behind each box, for each dot, and for the sum.
GAP, DOT, SUM = 7, 13, 10
LOWEST, HIGHEST, NARROWEST, WIDEST = 14, 64, 10, 46


@dataclass(frozen=True)
class Glyph:
    """A drawing: its inside as SVG, and its size."""

    svg: str
    width: int
    height: int


def glyph(box: Box, *, scale: float = 1.0) -> Glyph:
    """The drawing of one unit.

    Args:
        scale: below 1 makes boxes narrower, where there are many.
    """
    pen = _Pen(_height(box), max(4, round(_width(box) * scale)))
    beside = [mark for mark in box.marks if mark.cell is None and (mark.step < 0 or box.cells)]
    for number in range(box.cells):
        pen.marks([mark for mark in beside if mark.joined == number])
        pen.cell([mark for mark in box.marks if mark.cell == number], is_projected=number in box.projected)
    pen.marks([mark for mark in beside if mark.joined == box.cells])
    if not box.cells:
        pen.box()
        pen.marks([mark for mark in box.marks if mark not in beside])
    return pen.glyph()


def _height(box: Box) -> int:
    """A box for a map of 7 pixels is 18 high, and 9 more for each doubling."""
    side = box.size[-1] if box.size else 1
    return min(HIGHEST, max(LOWEST, round(18 + 9 * log2(side / 7))))


def _width(box: Box) -> int:
    """18 wide for 64 channels, and 5 more for each doubling."""
    return min(WIDEST, max(NARROWEST, round(5 * log2(max(1, box.channels)) - 12)))


class _Pen:
    """Draws from left to right along the line in the middle."""

    def __init__(self, high: int, wide: int) -> None:
        self.high, self.wide = high, wide
        self.middle = ABOVE + high / 2
        self.x = 0
        self.parts: list[str] = []

    def box(self) -> None:
        """The box itself, with a bit of line on both sides."""
        self.parts.append(
            f'<rect class="box" x="{self.x + GAP}" y="{ABOVE}" width="{self.wide}" height="{self.high}"/>'
        )
        self.x += self.wide + 2 * GAP

    def cell(self, marks: Sequence[Mark], *, is_projected: bool) -> None:
        """A branch with its sites, the bow of the shortcut over it, and the sum of both."""
        start = self.x + 2
        self.box()
        self.marks(marks)
        end, top = self.x, 3
        self.parts.append(
            f'<path class="bow" d="M{start} {self.middle:g}V{top + 4}q0-4 4-4H{end - 4}q4 0 4 4V{self.middle - 3:g}"/>'
        )
        if is_projected:
            self.parts.append(f'<rect class="own" x="{(start + end) / 2 - 3:g}" y="{top - 3}" width="6" height="6"/>')
        self.parts.append(f'<circle class="sum" cx="{end}" cy="{self.middle:g}" r="3"/>')
        self.x += SUM

    def marks(self, marks: Sequence[Mark]) -> None:
        """Dots on the line; diamonds where no shortcut leads past them."""
        for mark in marks:
            self.parts.append(self._mark(mark, self.x + DOT // 2 - 2))
            self.x += DOT

    def _mark(self, mark: Mark, x: int) -> str:
        kind = "site" if mark.site.read else "site unread"
        y = self.middle
        if mark.is_passed:
            return f'<circle class="{kind}" data-n="{mark.number}" cx="{x}" cy="{y:g}" r="4.5"/>'
        return f'<path class="{kind}" data-n="{mark.number}" d="M{x} {y - 5.5:g}l5.5 5.5-5.5 5.5-5.5-5.5z"/>'

    def glyph(self) -> Glyph:
        line = f'<path class="line" d="M0 {self.middle:g}H{self.x}"/>'
        return Glyph(line + "".join(self.parts), self.x, ABOVE + self.high + BELOW)
