"""One step on the way of the feature map: where it changes its size, or ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Node, Value

Kind = Literal["smaller", "pool"]


@dataclass(frozen=True)
class Step:
    """A change of size: `value` goes into `node` of `graph`, and comes out `smaller` or not at all (`pool`)."""

    kind: Kind
    value: Value
    node: Node | None
    graph: Graph

    @property
    def taker(self) -> str:
        """What takes the map, in words."""
        return taker(self.node)


def taker(node: Node | None) -> str:
    """What a step is, in words: a module's path or an operator's name. No node takes what the network returns."""
    if node is None:
        return "the output of the network"
    return node.child.path if node.child else node.op
