"""Formulas compiled once for all sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from inspect import signature
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.errors import NotCompiled

# What a formula is compiled for: of each tensor its dtype, device, which axes have length 1, and its order in memory.
Kind = tuple[Any, ...]
Formula = Callable[..., Any]
# The lengths that loops are compiled with: what a compiler chooses by them should suit large maps, and lengths that are
# equal by chance would be taken for the same.
IMAGES, CHANNELS, SPATIAL = 6, 224, {1: (3120,), 2: (60, 52), 3: (10, 26, 12)}
# What an argument is, by its name in `formulas`; all others are factors of the positions.
MAPS, OF_CHANNELS = ("x", "g"), ("s", "of_average", "peak", "a")


def run(formula: Formula, *given: Any) -> Any:
    """`formula(*given)`, by loops and without gradients; compiled at the first call with arguments of this kind."""
    # As what they are, and not as views of something: torch.compile would look at that as well.
    given = tuple(value.data if isinstance(value, Tensor) else value for value in given)
    return _made(formula, *(_kind(value) for value in given))(*given)


def missing(device: torch.device) -> str | None:
    """Why nothing can be compiled for `device`; None if it can."""
    kinds = (_kind(torch.ones(shape, device=device)) for shape in ((2, 2, 2), (2, 2)))
    try:
        _loops(formulas.weighted, *kinds)
    except Exception as error:
        return _reason(error, device)
    return None


@cache
def _made(formula: Formula, *kinds: Kind) -> Callable[..., Any]:
    """The loops; the formula itself where they can't be made, as on a machine that a compiled network was taken to."""
    try:
        return _loops(formula, *kinds)
    except Exception as error:
        told = _reason(error, next(kind[1] for kind in kinds if len(kind) > 1))
        warnings.warn(f"attention runs by plain operators, not compiled: {told}", NotCompiled, stacklevel=2)
        return formula


def _reason(error: Exception, device: torch.device) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    needs = "a C++ compiler (g++ or clang++)" if device.type == "cpu" else "Triton"
    return f"torch.compile needs {needs} and said: {lines[0][:200]}"


def _kind(value: Any) -> Kind:
    """What of an argument the loops depend on, beside its lengths."""
    if isinstance(value, Tensor):
        return value.dtype, value.device, tuple(length == 1 for length in value.shape), _order(value)
    return (value,)


def _order(x: Tensor) -> tuple[int, ...]:
    """The axes of `x`, from the outermost in memory to the innermost."""
    strides = x.stride()
    return tuple(sorted(range(x.dim()), key=lambda axis: -strides[axis]))


@cache
def _loops(formula: Formula, *kinds: Kind) -> Callable[..., Any]:
    """A function of its own: torch.compile counts how often it compiled each, and stops at eight."""
    code = formula.__code__.replace(co_name=f"{formula.__name__}_{abs(hash(kinds))}")
    own = FunctionType(code, formula.__globals__, formula.__name__, formula.__defaults__)
    loops = torch.compile(own, dynamic=True, fullgraph=True)
    loops(*(_typical(name, kind) for name, kind in zip(signature(formula).parameters, kinds)))
    return loops


def _typical(name: str, kind: Kind) -> Any:
    """An argument of that kind with the lengths that loops are compiled with."""
    if len(kind) == 1:
        return kind[0]
    dtype, device, ones, order = kind
    lengths = [1 if one else length for one, length in zip(ones, _lengths(name, len(ones)))]
    x = torch.zeros([lengths[axis] for axis in order], dtype=dtype, device=device)
    return x.permute([order.index(axis) for axis in range(len(order))]).data


def _lengths(name: str, dims: int) -> tuple[int, ...]:
    positions = SPATIAL[1] if dims < 4 else SPATIAL[dims - 2]
    if name in MAPS:
        return IMAGES, CHANNELS, *positions
    if dims == 2:
        return IMAGES, CHANNELS if name in OF_CHANNELS else positions[0]
    return (IMAGES, CHANNELS, *[1] * len(positions)) if name in OF_CHANNELS else (IMAGES, 1, *positions)
