"""A map in parts, made smaller on several ways at once, or given to a module that joins them: one step all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import A_PROJECTION, Ways
from surgeon.anatomy.steps import Step

if TYPE_CHECKING:
    from surgeon.anatomy.maps import Maps
    from surgeon.trace.graph import Node, Value


JOINS = ("cat", "concat", "add")


def joined(steps: Sequence[Step], node: Node, maps: Maps) -> list[Step]:
    """The steps of one forward; those that `node` joins the results of as one, at the map where their ways part.

    In a block without a module of its own (Inception's reductions, written in one forward) the ways stride in
    their last layers, and what these take is within the block.
    """
    if node.op not in JOINS:
        return [*steps]
    parts = [_last_step(value, steps, node) for value in node.inputs]
    together = {step for step in parts if step is not None}
    if None in parts or len(together) < 2 or len({maps.known(step.value).size for step in together}) > 1:
        return [*steps]
    origin = _origin([step.value for step in together], node, maps)
    if origin is None:
        return [*steps]
    last = next(step for step in reversed(steps) if step in together)
    whole = Step("smaller", origin, last.node, node.graph)
    return [whole if step is last else step for step in steps if step is last or step not in together]


def whole(node: Node, value: Value, maps: Maps) -> Value:
    """The map that a module joins first of all that it is given; `value`, one of those, where it does not join them.

    Blocks that add up on one way and append on another hand on two maps: either is half of the stage's.
    """
    size = maps.known(value).size
    parts = {given for given in node.inputs if (found := maps[given]) is not None and found.size == size}
    if node.child is None or len(parts) < 2:
        return value
    joins = (inner for inner in node.child.nodes if inner.op in JOINS and set(inner.inputs) == parts)
    return next((made for join in joins for made in join.outputs), value)


def _last_step(value: Value, steps: Sequence[Step], node: Node) -> Step | None:
    """The step that made a map smaller on the way to `value` in the forward of `node`, a layer or two before it."""
    ways = Ways.of(node.graph)
    behind = ways.behind(value) | {value}
    for step in reversed(steps):
        made = [made for made in step.node.outputs if made in behind] if step.node and step.graph is node.graph else []
        if made:
            is_near = ways.cost(value).kernels - ways.cost(made[0]).kernels <= A_PROJECTION
            return step if is_near else None
    return None


def _origin(values: Sequence[Value], node: Node, maps: Maps) -> Value | None:
    """The last map of their size that all of `values` were made of; None if there is none."""
    ways = Ways.of(node.graph)
    shared = frozenset.intersection(*(ways.behind(value) | {value} for value in values))
    size = maps.known(values[0]).size
    same = [value for value in shared if (found := maps[value]) is not None and found.size == size]
    return max(same, key=lambda value: value.order, default=None)
