"""Whether two attributes of modules mean the same: numbers, tensors, functions, and objects that hold these."""

import sys
from collections.abc import Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

import numpy as np
import torch
from torch import nn

NUMBERS = (bool, int, float, str, type(None))
FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, type, partial)
# How many levels down objects are compared: an anchor generator, its list, its tensors.
DEPTH = 4


def number(value: Any) -> Any:
    """A number of numpy's as one of Python's own; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def is_plain(value: object) -> bool:
    """A number, a text, None, or a list, tuple or dict of these."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(is_plain, value.values()))
    return type(value) in NUMBERS


def listed(value: Any) -> Any:
    """The value as JSON will give it back."""
    if isinstance(value, (list, tuple)):
        return [listed(part) for part in value]
    if isinstance(value, dict):
        return {key: listed(part) for key, part in value.items()}
    return value


def is_function(value: object) -> bool:
    """A function, a class, a method, or a partial of one."""
    return isinstance(value, FUNCTIONS)


def is_empty(value: object) -> bool:
    """A collection with nothing in it."""
    return isinstance(value, (list, tuple, dict, set)) and not value


def same(one: Any, other: Any, depth: int = DEPTH) -> bool:
    """Whether two attributes of modules mean the same, as far as can be seen."""
    if one is other or not depth:
        return True
    # Weights are compared by their keys, and each module by itself.
    if isinstance(one, (nn.Parameter, nn.Module, ReferenceType)):
        return type(one) is type(other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and _same_numbers(one.detach(), other.detach())
    if is_plain(one) and is_plain(other):
        return listed(one) == listed(other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and _same_parts(one, other, depth)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], depth - 1) for key in one)
    if is_function(one) or is_function(other):
        return origin(one) == origin(other) and _same_parts(_bound(one), _bound(other), depth)
    if type(one) is not type(other) or not hasattr(one, "__dict__"):
        return type(one) is type(other) and bool(one == other)
    return same(vars(one), vars(other), depth - 1)


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    # On meta shapes are all that there is.
    return one.is_meta or other.is_meta or torch.equal(one.cpu(), other.to("cpu", one.dtype))


def _same_parts(one: Sequence[object], other: Sequence[object], depth: int) -> bool:
    return all(same(mine, theirs, depth - 1) for mine, theirs in zip(one, other))


def _bound(function: Any) -> tuple[Any, ...]:
    """What a function holds besides its code: a partial its arguments, a closure its values, a method its object."""
    if isinstance(function, partial):
        return function.func, function.args, function.keywords
    cells = getattr(function, "__closure__", None) or ()
    holder = function.__self__ if isinstance(function, MethodType) else None
    return [cell.cell_contents for cell in cells], getattr(function, "__defaults__", None), holder


def origin(thing: Any) -> tuple[str, str]:
    """(file, name in it) where a class or function is written. A class of a running script is that of its module."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    home = sys.modules.get(kind.__module__ or "")
    return getattr(home, "__file__", None) or kind.__module__, kind.__qualname__
