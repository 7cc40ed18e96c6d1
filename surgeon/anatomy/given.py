"""What a network is given: one image, or several, each of which goes a way of its own at first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Node, Value


def images(graph: Graph, first: Value) -> list[Value]:
    """The image, and all else that is one: of its shape, or of other channels and sides with a layer of its own.

    A mask that is only laid upon the image, or into it, has none.
    """
    ranked = [value for value in graph.inputs if len(value.shape) == len(first.shape)]
    others = [value for value in ranked if value.shape == first.shape or _is_learned_from(value, graph)]
    return list(dict.fromkeys((first, *others)))


def _is_learned_from(value: Value, graph: Graph) -> bool:
    """Whether a layer with a kernel takes what is made of `value` and of nothing else that comes in."""
    made = {value}
    for node in steps(graph):
        if made.intersection(node.inputs) and all(other in made or other.fixed for other in node.inputs):
            if node.cost.kernels:
                return value.dtype.is_floating_point
            made.update(node.outputs)
    return False


def steps(graph: Graph) -> list[Node]:
    """All steps in order of execution, without the calls of modules whose own steps are on record."""
    nodes = (node for inner in graph.walk() for node in inner.nodes if node.outputs and not node.holds_steps)
    return sorted(nodes, key=lambda node: node.outputs[0].order)


def origins_of(graph: Graph, given: Sequence[Value]) -> dict[Value, Value]:
    """The image that each value is made of: of several, the first."""
    number = {value: at for at, value in enumerate(given)}
    for node in steps(graph):
        first = _least(number.get(value) for value in node.inputs)
        if first is not None:
            # What is written in place is a value of its own.
            number.update((value, first) for value in node.outputs if value not in number)
    return {value: given[at] for value, at in number.items()}


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
