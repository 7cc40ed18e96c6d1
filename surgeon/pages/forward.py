"""The forward of a unit as lines: what is done to the map, step by step, without attention and with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import Ways, branch_and_shortcut
from surgeon.pages.sketch import Line, shape

if TYPE_CHECKING:
    from surgeon.anatomy.maps import Maps
    from surgeon.pages.sketch import Mark
    from surgeon.pages.units import Unit
    from surgeon.trace.graph import Node, Value

# Operators as they are written between two values.
SIGNS = {"add": "+", "mul": "×", "sub": "−", "truediv": "÷", "div": "÷", "matmul": "@"}


@dataclass(frozen=True)
class Cell:
    """A branch and its shortcut, by the lines of a unit.

    fork: the line that makes what both begin with, -1 where that comes from before the unit. join: the line that adds
    them. on_shortcut: lines on the shortcut's own way.
    """

    fork: int
    join: int
    on_shortcut: frozenset[int]


@dataclass(frozen=True)
class Forward:
    """The steps of one unit, which branches they form, and how they read."""

    unit: Unit
    maps: Maps

    @property
    def nodes(self) -> list[Node]:
        return self.unit.nodes

    @cached_property
    def makers(self) -> dict[Value, int]:
        """{value: the first line that has it}."""
        found: dict[Value, int] = {}
        for number, node in enumerate(self.nodes):
            for value in node.outputs:
                if value not in node.inputs:
                    found.setdefault(value, number)
        return found

    @cached_property
    def cells(self) -> list[Cell]:
        """All branches, in the order in which they are joined."""
        return [self._cell(node) for node in self.unit.joins]

    def _cell(self, node: Node) -> Cell:
        ways, (branch, shortcut) = Ways.of(node.graph), branch_and_shortcut(node)
        on_branch, on_shortcut = ways.behind(branch) | {branch}, ways.behind(shortcut) | {shortcut}
        shared = [self.makers.get(value, -1) for value in on_branch & on_shortcut]
        fork, join = max(shared, default=-1), self.makers[node.outputs[0]]
        own = {self.makers.get(value, -1) for value in on_shortcut - on_branch}
        return Cell(fork, join, frozenset(line for line in own if fork < line < join))

    def cell_of(self, step: int) -> int | None:
        """The number of the branch that the line `step` is on; None on the way that all share."""
        inside = [number for number, cell in enumerate(self.cells) if cell.fork < step < cell.join]
        return inside[0] if inside else None

    def joined_at(self, step: int) -> int:
        """How many branches are joined when the line `step` is done."""
        return sum(cell.join <= step for cell in self.cells)

    def lines(self, marks: Iterable[Mark] = ()) -> tuple[Line, ...]:
        """The forward with attention at `marks`."""
        return tuple(_Telling(self).told([*marks]))


class _Telling:
    """Puts the steps of a forward into words, one after the other."""

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.names: dict[Value, str] = {}
        self.counts: dict[str, int] = {}
        self.newest = ""
        self.shape = ""

    def told(self, marks: Sequence[Mark]) -> list[Line]:
        lines = self._of_marks(-1, marks)
        for step in range(len(self.forward.nodes)):
            lines += [self._line(step), *self._of_marks(step, marks)]
        before = [False, *(line.beside for line in lines)]
        return [replace(line, forks=line.beside and not was) for line, was in zip(lines, before)]

    def _of_marks(self, step: int, marks: Sequence[Mark]) -> list[Line]:
        """The attention behind the line `step`, in front of all where that is -1."""
        return [self._gate(mark, step) for mark in marks if mark.step == step]

    def _gate(self, mark: Mark, step: int) -> Line:
        name = self._unused(mark.attention)
        if not mark.told:
            values = self.forward.nodes[step].outputs if step >= 0 else self.forward.nodes[0].inputs
            self.names.update(dict.fromkeys(values, name))
            self.newest = name
        told = mark.told or ("instead of it" if mark.site.replaces else "")
        return Line(name, given=told, way="new", beside=self._is_beside(step + 0.5))

    def _line(self, step: int) -> Line:
        node = self.forward.nodes[step]
        name = self._unused(_name(node, self.forward))
        line = Line(name, _kind(node), self._given(node), self._shape(node), self._way(step), self._is_beside(step))
        self.newest = name
        self.names.update(dict.fromkeys(node.outputs, name))
        return line

    def _given(self, node: Node) -> str:
        """What a step works on; nothing where it is what was made last."""
        named = [self.names.get(value, "x") for value in node.inputs if not value.fixed]
        if node.child is None and node.op in SIGNS and len(named) == 2:
            return f" {SIGNS[node.op]} ".join(named)
        is_next = named == [self.newest] or (not self.newest and named == ["x"])
        return "" if is_next or not named else f"on {', '.join(dict.fromkeys(named))}"

    def _shape(self, node: Node) -> str:
        """The shape of what a step makes, if that is another than before."""
        told = next(filter(None, (_shape_of(value, self.forward.maps) for value in node.outputs)), "")
        changed, self.shape = (told if told != self.shape else ""), told or self.shape
        return changed

    def _way(self, step: int) -> str:
        if any(cell.join == step for cell in self.forward.cells):
            return "join"
        return "shortcut" if any(step in cell.on_shortcut for cell in self.forward.cells) else "branch"

    def _is_beside(self, step: float) -> bool:
        return any(cell.fork < step < cell.join for cell in self.forward.cells)

    def _unused(self, name: str) -> str:
        """The name, with a number behind it from its second use on."""
        self.counts[name] = self.counts.get(name, 0) + 1
        return name if self.counts[name] == 1 else f"{name} ({self.counts[name]})"


def _name(node: Node, forward: Forward) -> str:
    """A child's name inside the unit, or the operator's."""
    if node.child is None:
        return node.op
    return node.child.path.removeprefix(f"{forward.unit.graph.path}.")


def _kind(node: Node) -> str:
    return type(node.child.module).__name__ if node.child else ""


def _shape_of(value: Value, maps: Maps) -> str:
    found = maps.grouped(value)
    if found:
        return shape(found.channels, found.size if found.pixels > 1 else ())
    return " × ".join(map(str, value.shape[1:])) if value.shape[:1] == (maps.batch,) else ""
