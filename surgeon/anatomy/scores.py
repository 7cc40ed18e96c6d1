"""Gates that a network has of its own: modules that multiply the map they are given by scores made of that very map.

Squeeze-and-excitation, ECA, coordinate attention, CBAM as libraries and papers write them: found by what they do.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import Ways

if TYPE_CHECKING:
    from surgeon.anatomy.maps import Maps
    from surgeon.trace.graph import Graph, Node, Value


def is_gate(graph: Graph, maps: Maps) -> bool:
    """Whether a module returns its first input, one map, times scores that it learned to make of it.

    The scores are fewer than the numbers of the map (one a channel, one a pixel): a map that is multiplied by
    another whole one is a gated unit. Gates one after the other, and nothing else, are a gate together.
    """
    if len(graph.outputs) != 1 or not graph.inputs or graph.parent is None:
        return False
    value, given = graph.outputs[0], graph.inputs[0]
    if value is given or value.shape != given.shape or maps.grouped(given) is None:
        return False
    while value is not given:
        node = graph.makers.get(value)
        before = _before(node, given, maps) if node is not None else None
        if before is None:
            return False
        value = before
    return True


def outermost_gates(graph: Graph, maps: Maps) -> list[Graph]:
    """The gates that run in `graph` and lie in no other one, in order of execution."""
    if is_gate(graph, maps):
        return [graph]
    return [found for child in graph.children for found in outermost_gates(child, maps)]


def _before(node: Node, given: Value, maps: Maps) -> Value | None:
    """The map that `node`, a gate or a product with scores for `given`, was given; None if it is neither."""
    if node.child is not None:
        return node.inputs[0] if is_gate(node.child, maps) else None
    if node.op != "mul" or len(node.inputs) != 2 or node.constants:
        return None
    whole, ways = node.outputs[0].shape, Ways.of(node.graph)
    for operand, weighed in (node.inputs, reversed(node.inputs)):
        scores = _narrow(operand, node.graph)
        is_fewer = prod(scores.shape) < prod(whole) and weighed.shape == whole
        if is_fewer and given in ways.behind(scores) and ways.cost(scores).weights > 0:
            return weighed
    return None


def _narrow(value: Value, graph: Graph) -> Value:
    """`value` before it was repeated to the size of a map."""
    node = graph.makers.get(value)
    return node.inputs[0] if node is not None and node.op in ("expand", "expand_as") else value
