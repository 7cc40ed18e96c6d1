"""Functions that a symbolic trace takes as one step: those of `math`, and those marked with `torch.fx.wrap`.

torch.fx puts its stand-ins for them into the modules that name them, for the whole process; here a
function under trace gets a scope of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import update_wrapper
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

from torch import fx
from torch.fx import _symbolic_trace
from torch.utils._pytree import tree_leaves

_MATH = {name: function for name, function in vars(math).items() if callable(function) and not name.startswith("_")}


def scoped(function: FunctionType, known: dict[FunctionType, FunctionType] | None = None) -> FunctionType:
    """`function` as it would be if each leaf that it calls, and that the functions it names call, took proxies; itself if there is none."""
    known = {} if known is None else known
    if function in known:
        return known[function]
    known[function] = function
    scope = function.__globals__
    changes = {}
    for name in set(_names_in(function.__code__)):
        there = scope.get(name, vars(_symbolic_trace.builtins).get(name))
        stand_in = _stand_in(there, (id(scope), name) in _symbolic_trace._wrapped_fns_to_patch, known)
        if stand_in is not there:
            changes[name] = stand_in
    if changes:
        known[function] = _with_scope(function, scope | changes)
    return known[function]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names_in(part)


def _stand_in(there: Any, is_marked: bool, known: dict[FunctionType, FunctionType]) -> Any:
    if there is math:
        return SimpleNamespace(**vars(math) | {name: leaf(function) for name, function in _MATH.items()})
    if is_marked or any(there is function for function in _MATH.values()):
        return leaf(there)
    if isinstance(there, FunctionType) and there.__module__.partition(".")[0] != "torch":
        return scoped(there, known)
    return there


def leaf(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one node of the graph where it is given a proxy."""

    def call(*args: Any, **kwargs: Any) -> Any:
        proxy = next((item for item in tree_leaves((args, kwargs)) if isinstance(item, fx.Proxy)), None)
        return function(*args, **kwargs) if proxy is None else proxy.tracer.create_proxy("call_function", function, args, kwargs)

    return call


def _with_scope(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    twin = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return update_wrapper(twin, function)
