"""Where a forward has a number at hand that it is not asked for: the height and the width of the map of its tokens."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx


@dataclass(frozen=True)
class Reading:
    """One number in a forward: an argument, or the length of an axis of a tensor.

    name: of the parameter, or of the fx node that gives the tensor (`is_node`); None for what the forward returns.
    place: which parameter it is, None for one that comes by its name alone.
    items: which item of it, of that one, and so on. axis: of which axis it is the length, None for the number itself.
    """

    name: str | None
    place: int | None = None
    items: tuple[int, ...] = ()
    axis: int | None = None
    is_node: bool = False

    def given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The number in the arguments of a call."""
        is_by_place = self.place is not None and self.place < len(args)
        return self.within(args[self.place] if is_by_place else kwargs[self.name])  # type: ignore[index]

    def within(self, value: Any) -> Any:
        """The number in the argument, in the tensor or in what was returned."""
        for item in self.items:
            value = value[item]
        return value if self.axis is None else value.shape[self.axis]

    def node(self, graph: fx.Graph, tensor: Callable[[str], fx.Node]) -> fx.Node:
        """The number as a new node, where `graph` inserts; `tensor` finds nodes by name."""
        assert self.name is not None, "what a forward returns is not known inside it"
        found = tensor(self.name) if self.is_node else _parameter(graph, self.name)
        for item in self.items:
            found = _item(graph, found, item)
        return found if self.axis is None else _length(graph, found, self.axis)


# Height and width, or with the depth of a clip in front.
Readings = tuple[Reading, ...]


def _parameter(graph: fx.Graph, name: str) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "placeholder" and node.target == name)


def _item(graph: fx.Graph, node: fx.Node, item: int) -> fx.Node:
    return graph.call_function(operator.getitem, (node, item))


def _length(graph: fx.Graph, node: fx.Node, axis: int) -> fx.Node:
    return _item(graph, graph.call_function(getattr, (node, "shape")), axis)
