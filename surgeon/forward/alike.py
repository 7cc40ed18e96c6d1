"""Blocks alike: which modules are rewritten in the same way, so that each kind is traced once."""

import inspect
from dataclasses import replace
from functools import cache

import torch
from torch.utils._pytree import tree_leaves, tree_structure


def twin(known, old, new):
    """What is known of the forward of one block, for another that did the same; None if it did something else.

    Networks repeat their blocks; each kind is traced once.

    Args:
        known: the Rewritable of `old`. old, new: recorded calls of two modules of one `likeness`.
    """
    if _pattern(old) != _pattern(new):
        return None
    partner = {}
    for mine, other in zip(old.nodes, new.nodes):
        partner.update(zip((*mine.inputs, *mine.outputs), (*other.inputs, *other.outputs)))
    names = {partner[value]: name for value, name in known.names.items() if value in partner}
    return replace(known, names=names) if len(names) == len(known.names) else None


def likeness(record):
    """All that a trace can depend on: classes, the settings that its code names, and the kind of each argument."""
    names = names_of(type(record.module)) - {"training"}
    settings = tuple((path, type(module), _settings(module, names)) for path, module in record.module.named_modules())
    kinds = (leaf if leaf is None or isinstance(leaf, (bool, str, float)) else type(leaf) for leaf in tree_leaves((record.args, record.kwargs)))
    return settings, tuple(kinds), tree_structure((record.args, record.kwargs))


def _settings(module, names):
    """What the attributes called so hold, as far as it is plain; which children and weights are None."""
    held = vars(module)
    plain = tuple((name, str(held[name])) for name in names & held.keys() if not isinstance(held[name], (dict, torch.Tensor)))
    missing = tuple(key for key, value in (*module._parameters.items(), *module._modules.items()) if value is None)
    return plain, missing


@cache
def names_of(cls):
    """All names that the methods of a class mention, and the functions that these call, and so on."""
    left = [f for base in cls.__mro__ if _is_foreign(base) for f in vars(base).values() if inspect.isfunction(f)]
    seen, names = set(), set()
    while left:
        function = left.pop()
        seen.add(function)
        codes = [function.__code__]
        for code in codes:
            names.update(code.co_names)
            codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        called = (function.__globals__.get(name) for name in names)
        left += [f for f in called if inspect.isfunction(f) and _is_foreign(f) and f not in seen and f not in left]
    return frozenset(names)


def _is_foreign(thing):
    """True for what is not torch's own, and so may look at any attribute of a module."""
    return thing.__module__.partition(".")[0] not in ("torch", "builtins")


def _pattern(record):
    """The steps of a record without sizes: which operator or child, on which of the values before it."""
    numbers = {}

    def number(values):
        return [numbers.setdefault(value, len(numbers)) for value in values]

    number(record.inputs)
    steps = [(title(node), _child_name(record, node), number(node.inputs), number(node.outputs), node.in_place) for node in record.nodes]
    return [*steps, number(record.outputs)]


def _child_name(record, node):
    return node.child.path.removeprefix(record.path) if node.child else ""


def title(node):
    """What a step is, in a word: its operator, or the class of the child that it calls."""
    return f"the call of {type(node.child.module).__name__}" if node.child else node.op
