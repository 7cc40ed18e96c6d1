"""Adds inside the branches of others: which are blocks, which parts of a block, and which skips around several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import SEVERAL, Ways, branch_and_shortcut, is_residual, kernels

if TYPE_CHECKING:
    from surgeon.anatomy.maps import Maps
    from surgeon.trace.graph import Node, Value


def outermost(adds: Sequence[Node]) -> list[Node]:
    """Those of the residual `adds` that lie in no other one's branch."""
    return [add for add, around in _around(adds).items() if not around]


def blocks_among(adds: Sequence[Node], maps: Maps) -> list[Node]:
    """Those of the residual `adds`, given in order of execution, that are whole blocks.

    What is added inside a block belongs to its layers (the splits of Res2Net). An add that surrounds several
    blocks, or one at another size of the map, is no block but a skip around those (EDSR, additive U-Nets).
    """
    around = _around(adds)
    inside: dict[Node, list[Node]] = {add: [] for add in adds}
    for add, outer in around.items():
        for other in outer:
            inside[other].append(add)
    # Without the skips; a dict, to keep the order.
    rest: dict[Node, None] = {}
    for add in adds:
        inner = [other for other in inside[add] if other in rest]
        parts = [other for other in inner if around[other].isdisjoint(inner)]
        if not _is_skip(add, parts, maps):
            rest[add] = None
    return [add for add in rest if around[add].isdisjoint(rest)]


def is_in_a_branch(node: Node, maps: Maps) -> bool:
    """Whether a step is on the branch of a residual add of its own forward."""
    adds = (add for add in node.graph.nodes if add.op == "add" and is_residual(add, maps))
    return any(node in _branch(add) for add in adds)


def _is_skip(add: Node, parts: Sequence[Node], maps: Maps) -> bool:
    """True if the `parts` in the branch of `add` are blocks of their own.

    One kernel alone makes no block: layers in several parts are added up so.
    """
    blocks = {part for part in parts if kernels(part) > 1}
    if not blocks:
        return False
    blocks &= _on_the_way(add)
    return len(blocks) >= SEVERAL or any(_sizes_differ(add, block, maps) for block in blocks)


def _on_the_way(add: Node) -> set[Node]:
    """The steps that the map passes on the branch of `add`, in all modules; those that make a gate for it left out."""
    ways = Ways.of(add.graph)
    branch, shortcut = branch_and_shortcut(add)
    fork = ways.behind(shortcut) | {shortcut}
    makers = add.graph.inner_makers
    passed: set[Node] = set()
    waiting = [branch]
    while waiting:
        value = waiting.pop()
        if value not in fork and value in makers and makers[value] not in passed:
            passed.add(makers[value])
            waiting += _maps_taken(makers[value])
    return passed


def _maps_taken(node: Node) -> list[Value]:
    """What `node` is given; of a product, only the operand that less was learned for, the other one is a gate."""
    inputs = [value for value in node.inputs if not value.fixed]
    if node.op != "mul":
        return inputs
    cost = Ways.of(node.graph).cost
    least = min(map(cost, inputs), default=None)
    return [value for value in inputs if cost(value) == least]


def _sizes_differ(one: Node, other: Node, maps: Maps) -> bool:
    first, second = maps[one.outputs[0]], maps[other.outputs[0]]
    return first is not None and second is not None and first.size != second.size


def _around(adds: Sequence[Node]) -> dict[Node, set[Node]]:
    """For each of the `adds`, those others whose branch it lies in."""
    owners: dict[Node, list[Node]] = {}
    for add in adds:
        for node in _branch(add):
            owners.setdefault(node, []).append(add)
    return {add: {owner for node in _callers(add) for owner in owners.get(node, ())} for add in adds}


def _branch(add: Node) -> set[Node]:
    """The steps on the branch of an add, those that its shortcut does not pass."""
    ways, makers = Ways.of(add.graph), add.graph.makers
    branch, shortcut = branch_and_shortcut(add)
    beside = (ways.behind(branch) | {branch}) - ways.behind(shortcut) - {shortcut}
    return {makers[value] for value in beside if value in makers}


def _callers(node: Node | None) -> Iterator[Node]:
    """A step and the calls that lead to it, inside out."""
    while node is not None:
        yield node
        node = node.graph.caller
