"""Whether two attributes of modules mean the same: numbers, tensors, functions, and objects that hold these."""

import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from weakref import ReferenceType

import numpy as np
import torch
from torch import nn

NUMBERS = (bool, int, float, str, type(None))
FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, type, partial)
# As deep as objects are looked into: an anchor generator, its list, its tensors.
DEPTH = 4


def number(value):
    """A number of numpy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def is_plain(value):
    """A number, a text, None, or a list, tuple or dict of these."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(is_plain, value.values()))
    return type(value) in NUMBERS


def listed(value):
    """The value as JSON will give it back."""
    if isinstance(value, (list, tuple)):
        return [listed(part) for part in value]
    return {key: listed(part) for key, part in value.items()} if isinstance(value, dict) else value


def is_function(value):
    """A function, a class, a method, or a partial of one."""
    return isinstance(value, FUNCTIONS)


def is_empty(value):
    """A collection with nothing in it."""
    return isinstance(value, (list, tuple, dict, set)) and not value


def same(one, other, depth=DEPTH):
    """Whether two attributes of modules mean the same, as far as can be seen."""
    if one is other or not depth:
        return True
    # Weights have keys, and modules are compared on their own.
    if isinstance(one, (nn.Parameter, nn.Module, ReferenceType)):
        return type(one) is type(other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one.detach().cpu(), other.detach().to("cpu", one.dtype))
    if is_plain(one) and is_plain(other):
        return listed(one) == listed(other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(a, b, depth - 1) for a, b in zip(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], depth - 1) for key in one)
    if is_function(one) or is_function(other):
        return origin(one) == origin(other) and all(same(a, b, depth - 1) for a, b in zip(_bound(one), _bound(other)))
    if type(one) is not type(other) or not hasattr(one, "__dict__"):
        return type(one) is type(other) and bool(one == other)
    return same(vars(one), vars(other), depth - 1)


def _bound(function):
    """What a function holds besides its code: of a partial its arguments, of a closure the values in it."""
    if isinstance(function, partial):
        return function.func, function.args, function.keywords
    cells = getattr(function, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells], getattr(function, "__defaults__", None)


def origin(thing):
    """Where a class or function is written; a script that runs is the module of its file."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    home = sys.modules.get(kind.__module__ or "")
    return getattr(home, "__file__", None) or kind.__module__, kind.__qualname__
