"""Formulas compiled once for all sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

# What a formula is compiled for: of each tensor its dtype, device, which axes have length 1, and its order in memory.
Kind = tuple[Any, ...]


def run(formula: Callable[..., Any], *given: Any) -> Any:
    """`formula(*given)`, by loops; compiled at the first call with arguments of this kind."""
    return _loops(formula, *(_kind(value) for value in given))(*given)


def _kind(value: Any) -> Kind:
    """What of an argument the loops depend on, beside its lengths."""
    if isinstance(value, Tensor):
        order = sorted(range(value.dim()), key=lambda axis: -value.stride(axis))
        return value.dtype, value.device, tuple(length == 1 for length in value.shape), tuple(order)
    return (value == 1,) if type(value) is int else (value,)


@cache
def _loops(formula: Callable[..., Any], *kinds: Kind) -> Callable[..., Any]:
    """A function of its own: torch.compile counts how often it compiled each, and stops at eight."""
    code = formula.__code__.replace(co_name=f"{formula.__name__}_{abs(hash(kinds))}")
    own = FunctionType(code, formula.__globals__, formula.__name__, formula.__defaults__)
    return torch.compile(own, dynamic=True, fullgraph=True)
