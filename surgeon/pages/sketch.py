"""A network as it is drawn, in words and numbers: stages of boxes, each with its steps, its costs and its sites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from surgeon.sites import Site

Size = tuple[int, ...]


@dataclass(frozen=True)
class Line:
    """One step of a forward.

    name: of what it makes. kind: the module's class; empty for an operator. given: what it works on, where that is not
    what the line before it made. shape: of what it makes, where that is another than before.
    way: branch, shortcut, join (of the two), or new, for attention. beside: whether a shortcut runs beside it, and
    forks: whether it leaves the branch there.
    """

    name: str
    kind: str = ""
    given: str = ""
    shape: str = ""
    way: str = "branch"
    beside: bool = False
    forks: bool = False


@dataclass(frozen=True)
class Mark:
    """A site in the drawing.

    number: of the site in the plan. attention: its name. step: after which line of its unit it is, -1 for before all.
    cell: in which branch of the unit, counted from 0; None on the way that all units share, behind so many branches
    of its unit as `joined` says.
    told: where it is, in words. opened: how far the gate has opened; None where that is not known.
    """

    number: int
    site: Site
    attention: str
    step: int = 0
    cell: int | None = None
    joined: int = 0
    told: str = ""
    opened: float | None = None

    @property
    def is_passed(self) -> bool:
        """Whether a shortcut leads past it; also one inside a layer that is drawn as a whole."""
        return self.cell is not None or self.site.place == "residual"


@dataclass(frozen=True)
class Box:
    """One unit of the network.

    name: its path, or those of its layers. kind: its class, or theirs. channels, size: of the map that it makes, 0 and
    empty where it makes none. parameters, macs: None where nobody knows. before, after: its steps, without and with
    attention. cells: how many branches it has; `projected`, which of their shortcuts have layers of their own.
    """

    name: str
    kind: str
    channels: int
    size: Size
    parameters: int | None = None
    macs: int | None = None
    before: tuple[Line, ...] = ()
    after: tuple[Line, ...] = ()
    cells: int = 0
    projected: frozenset[int] = frozenset()
    marks: tuple[Mark, ...] = ()

    @property
    def shape(self) -> str:
        return shape(self.channels, self.size)


@dataclass(frozen=True)
class Stage:
    """Units one behind another whose maps have one size. name: the modules that it is made of."""

    name: str
    size: Size
    boxes: tuple[Box, ...]

    @property
    def marks(self) -> list[Mark]:
        return [mark for box in self.boxes for mark in box.marks]

    @property
    def channels(self) -> str:
        """How many channels its maps have, from the first unit to the last."""
        found = [box.channels for box in self.boxes if box.channels and (box.parameters or len(self.boxes) == 1)]
        if not found:
            return str(self.boxes[-1].channels or "")
        return str(found[-1]) if found[0] == found[-1] else f"{found[0]} → {found[-1]}"

    @property
    def shape(self) -> str:
        """The shape of its maps."""
        return " × ".join([self.channels, *map(str, self.size)]) if self.channels else ""


@dataclass(frozen=True)
class Sketch:
    """A network with its attention.

    name: of its class. image: the shape of what it is given. parameters, macs: of the network without attention.
    part: the module that is drawn, where that is not all; is_whole: whether more than the modules with sites is.
    """

    name: str
    stages: tuple[Stage, ...]
    image: str = ""
    parameters: int | None = None
    macs: int | None = None
    part: str = ""
    is_whole: bool = True

    @property
    def boxes(self) -> Iterator[Box]:
        return (box for stage in self.stages for box in stage.boxes)

    @property
    def marks(self) -> list[Mark]:
        """All sites, in the order of the plan."""
        return sorted((mark for stage in self.stages for mark in stage.marks), key=lambda mark: mark.number)


def shape(channels: int, size: Size) -> str:
    """`64 × 56 × 56`; of a vector the number of its entries."""
    return " × ".join(map(str, (channels, *size))) if channels else ""
