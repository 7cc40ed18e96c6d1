"""A forward that can't be rewritten, kept as it is: attention can still stand behind the children that it calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from surgeon.errors import Untraceable
from surgeon.trace.graph import Graph, Node, Value

# After these, with nothing but numbers and weights beside the map, it is the same map on another scale.
_SCALES = {"mul", "div", "truediv", "dropout", "contiguous"}
# What a Site calls the edges of a module.
_EDGES = ("input", "output", "instead")


@dataclass(frozen=True)
class Kept:
    """The forward of one module, and which of its values its children give.

    names: for each such value, in eval mode, what a Site calls it. children: by that name, the path of the child inside
    the module, and which item of what it returns the value is (None for all of it). reason: why it is not rewritten.
    """

    names: dict[Value, str]
    children: dict[str, tuple[str, int | None]]
    reason: Untraceable

    def name_of(self, value: Value) -> str:
        """What a Site calls a recorded value.

        Raises:
            Untraceable: no child gives it.
        """
        if value not in self.names:
            raise self.reason
        return self.names[value]

    def does_as(self, other: object) -> bool:
        """True if both have the same children in the same places."""
        return isinstance(other, Kept) and self.children == other.children


def kept(record: Graph, reason: Untraceable) -> Kept:
    """The forward of `record`'s module as it is.

    Args:
        record: the Graph of one call of it, on meta, in eval mode.
        reason: why it can't be rewritten.
    """
    names: dict[Value, str] = {}
    children: dict[str, tuple[str, int | None]] = {}
    for node, path in _called_once(record):
        for item, value in _made(node):
            name = _name(path if item is None else f"{path}.{item}")
            children[name] = path, item
            names.update(dict.fromkeys(_scaled(value), name))
    return Kept(names, children, reason)


def _called_once(record: Graph) -> Iterator[tuple[Node, str]]:
    """The calls of children that the forward makes once, and that it knows under one path alone."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in record.module.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    times = Counter(child.module for child in record.children)
    for node in record.nodes:
        known = paths.get(node.child.module, []) if node.child and times[node.child.module] == 1 else []
        if len(known) == 1:
            yield node, known[0]


def _made(node: Node) -> list[tuple[int | None, Value]]:
    """The values that a child makes, each with its place in a tuple or a list of tensors that it returns."""
    child = node.child
    assert child is not None, "it is a call"
    places: list[int | None] = [None]
    if isinstance(child.result, (tuple, list)):
        places = [at for at, held in enumerate(child.result) if isinstance(held, torch.Tensor)]
    if len(places) != len(child.outputs):
        return []
    return [(place, value) for place, value in zip(places, child.outputs) if value not in node.inputs]


def _scaled(value: Value) -> Iterator[Value]:
    """The value, and what becomes of it as long as it is only scaled and nothing else takes it."""
    yield value
    # What hands it on as it is (dropout in eval mode) takes nothing.
    users = [node for node in value.users if not node.holds_steps and value not in node.outputs]
    if len(users) == 1 and users[0].op in _SCALES and not users[0].in_place:
        others = [other for other in users[0].inputs if other is not value]
        if all(other.fixed for other in others) and users[0].outputs[0].shape == value.shape:
            yield from _scaled(users[0].outputs[0])


def _name(path: str) -> str:
    name = path.replace(".", "_")
    return f"{name}_1" if name in _EDGES else name
