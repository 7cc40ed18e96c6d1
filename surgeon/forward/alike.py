"""Blocks alike: which modules are rewritten in the same way, so that each kind is traced once."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import nn

from surgeon.forward.leaves import names_in
from surgeon.outside.torch import child_table, parameter_table, tree_leaves, tree_structure
from surgeon.trace.graph import Graph, Node, Value


def carried_over(names: Mapping[Value, str], old: Graph, new: Graph) -> dict[Value, str] | None:
    """The names of one block's values, for another that did the same; None if it did something else.

    Networks repeat their blocks; each kind is traced once.

    Args:
        names: for values of `old`, of the fx nodes that give them.
        old, new: recorded calls of two modules of one kind (`kind_of`).
    """
    if _pattern(old) != _pattern(new):
        return None
    partner: dict[Value, Value] = {}
    for known, node in zip(old.nodes, new.nodes):
        partner.update(zip(known.inputs, node.inputs))
        partner.update(zip(known.outputs, node.outputs))
    carried = {partner[value]: name for value, name in names.items() if value in partner}
    return carried if len(carried) == len(names) else None


def kind_of(record: Graph) -> Hashable:
    """All that a trace can depend on: classes, the settings that its code names, and the kind of each argument."""
    # As a `type[Module]` it would not be hashable to mypy.
    cls: type = type(record.module)
    names = names_of(cls) - {"training"}
    settings = tuple((path, type(module), _settings(module, names)) for path, module in record.module.named_modules())
    arguments = (record.args, record.kwargs)
    # As text: the structures of older torch have no hash.
    return settings, tuple(map(_kind_of_argument, tree_leaves(arguments))), repr(tree_structure(arguments))


def _kind_of_argument(leaf: Any) -> Hashable:
    """Flags and settings count by what they are, tensors and sizes by their class alone."""
    if leaf is None or isinstance(leaf, (bool, str, float)):
        # With its class, since True equals 1.0.
        return type(leaf), leaf
    cls: type = type(leaf)
    return cls


def _settings(module: nn.Module, names: frozenset[str]) -> Hashable:
    """What the attributes called so hold, as far as it is plain; which children and weights are None."""
    attributes = vars(module)
    held = ((name, attributes[name]) for name in names & attributes.keys())
    plain = tuple((name, str(value)) for name, value in held if not isinstance(value, (dict, torch.Tensor)))
    parts: Iterable[tuple[str, Any]] = (*parameter_table(module).items(), *child_table(module).items())
    return plain, tuple(name for name, part in parts if part is None)


@cache
def names_of(cls: type) -> frozenset[str]:
    """All names that the methods of a class mention, and the functions that these call, and so on."""
    waiting = [f for base in cls.__mro__ if _is_foreign(base) for f in vars(base).values() if inspect.isfunction(f)]
    read: set[FunctionType] = set()
    names: set[str] = set()
    while waiting:
        function = waiting.pop()
        read.add(function)
        names.update(names_in(function.__code__))
        called = (function.__globals__.get(name) for name in names)
        waiting += [
            f for f in called if inspect.isfunction(f) and _is_foreign(f) and f not in read and f not in waiting
        ]
    return frozenset(names)


def _is_foreign(thing: type | FunctionType) -> bool:
    """True for what is not torch's own, and so may look at any attribute of a module."""
    return thing.__module__.partition(".")[0] not in ("torch", "builtins")


def _pattern(record: Graph) -> list[Any]:
    """The steps of a record without sizes: which operator or child, on which of the values before it."""
    numbers: dict[Value, int] = {}

    def number(values: Iterable[Value]) -> list[int]:
        return [numbers.setdefault(value, len(numbers)) for value in values]

    number(record.inputs)
    steps: list[Any] = []
    for node in record.nodes:
        child = node.child.path.removeprefix(record.path) if node.child else ""
        steps.append((title(node), child, number(node.inputs), number(node.outputs), node.in_place))
    return [*steps, number(record.outputs)]


def title(node: Node) -> str:
    """What a step is, in a word: its operator, or the class of the child that it calls."""
    return f"the call of {type(node.child.module).__name__}" if node.child else node.op
