"""Functions that a symbolic trace takes as one step: of `math`, `len`, those that make tensors, `torch.fx.wrap`'s.

torch.fx puts its stand-ins for them into the modules that name them, for the whole process; here a
function under trace gets a scope of its own.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterator
from functools import update_wrapper
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import fx

from surgeon.outside.torch import tree_leaves, wrapped_functions

_MATH = {name: function for name, function in vars(math).items() if callable(function) and not name.startswith("_")}
# What makes a tensor from sizes alone: torch asks none of its arguments whether it is a stand-in.
_MAKERS = frozenset("arange empty full linspace ones rand randn zeros".split())


class _Torch:
    """The module torch, whose functions that make tensors take proxies for sizes."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch, name)
        return leaf(found) if name in _MAKERS else found


def _length(collection: Any) -> Any:
    """`len`, as a step of its own for a proxy that does not know how long it is."""
    is_unknown = isinstance(collection, fx.Proxy) and type(collection).__len__ is fx.Proxy.__len__
    return leaf(len)(collection) if is_unknown else len(collection)


def scoped(function: FunctionType, known: dict[FunctionType, FunctionType] | None = None) -> FunctionType:
    """A copy of `function` in which leaves take proxies, also in the functions that it names; itself if there are none.

    known: what was found for each function so far, since functions may name one another.
    """
    known = {} if known is None else known
    if function in known:
        return known[function]
    known[function] = function
    scope = function.__globals__
    changes = {}
    names = set(names_in(function.__code__))
    for name in names:
        original = scope.get(name, vars(builtins).get(name))
        if original is torch and not names & _MAKERS:
            continue
        stand_in = _stand_in(original, (id(scope), name) in wrapped_functions, known)
        if stand_in is not original:
            changes[name] = stand_in
    if changes:
        known[function] = _with_scope(function, scope | changes)
    return known[function]


def names_in(code: CodeType) -> Iterator[str]:
    """Names of globals and attributes in a function's code, and in that of the functions defined inside it."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from names_in(part)


def _stand_in(original: Any, is_marked: bool, known: dict[FunctionType, FunctionType]) -> Any:
    """What takes proxies in place of something that a function names; the very thing where it needs none."""
    if original is math:
        return SimpleNamespace(**vars(math) | {name: leaf(function) for name, function in _MATH.items()})
    if original is torch:
        return _Torch()
    if original is len:
        return _length
    if is_marked or any(original is function for function in _MATH.values()):
        return leaf(original)
    if isinstance(original, FunctionType) and original.__module__.partition(".")[0] != "torch":
        return scoped(original, known)
    return original


def leaf(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one node of the graph where it is called with a proxy."""

    def call(*args: Any, **kwargs: Any) -> Any:
        proxy = next((item for item in tree_leaves((args, kwargs)) if isinstance(item, fx.Proxy)), None)
        if proxy is None:
            return function(*args, **kwargs)
        return proxy.tracer.create_proxy("call_function", function, args, kwargs)

    return call


def _with_scope(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    copied = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    update_wrapper(copied, function)
    return copied
