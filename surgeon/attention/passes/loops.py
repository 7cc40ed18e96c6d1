"""Formulas compiled once for all sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from inspect import signature
from itertools import accumulate
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.dtypes import no_autocast
from surgeon.errors import NotCompiled

Formula = Callable[..., Any]


class Look(NamedTuple):
    """What a tensor is, its numbers aside."""

    dtype: torch.dtype
    device: torch.device
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_inference: bool


class Kind(NamedTuple):
    """What of a tensor its loops depend on, beside its lengths.

    ones: which axes have length 1. order: the axes, from the outermost in memory to the innermost. repeated: which axes
    are one number said again, as in the gradient of a mean. is_whole: whether nothing lies between its numbers.
    """

    dtype: torch.dtype
    device: torch.device
    ones: tuple[bool, ...]
    order: tuple[int, ...]
    repeated: tuple[bool, ...]
    is_whole: bool
    is_inference: bool


# The lengths that loops are compiled with: what a compiler chooses by them should suit large maps, and lengths that are
# equal by chance would be taken for the same.
IMAGES, CHANNELS, SPATIAL = 6, 224, {1: (3120,), 2: (60, 52), 3: (10, 26, 12)}
# What an argument is, by its name in `formulas`; all others are factors of the positions.
MAPS, OF_CHANNELS = ("x", "g"), ("s", "of_average", "peak", "a")


def run(formula: Formula, *given: Any) -> Any:
    """`formula(*given)`, by loops and without gradients; compiled at the first call with arguments of this kind."""
    # As what they are, and not as views of something: torch.compile would look at that as well.
    given = tuple(value.data if isinstance(value, Tensor) else value for value in given)
    # Loops are compiled for the state of gradients and autocast as well, and what they do is fixed.
    with torch.no_grad(), no_autocast(given[0]):
        return _fitting(formula, *map(_look, given))(*given)


def _look(value: Any) -> Any:
    """The look of a tensor; anything else is its own."""
    if not isinstance(value, Tensor):
        return value
    return Look(value.dtype, value.device, value.shape, value.stride(), value.is_inference())


@lru_cache(maxsize=1024)
def _fitting(formula: Formula, *looks: Any) -> Callable[..., Any]:
    """The loops for arguments that look so. Noted down: a small map is multiplied faster than its kind is found."""
    return _made(formula, *map(_kind, looks))


def missing(device: torch.device) -> str | None:
    """Why nothing can be compiled for `device`; None if it can."""
    x, factors = (torch.ones(shape, device=device) for shape in ((2, 2, 2), (2, 2)))
    try:
        with torch.no_grad(), no_autocast(x):
            _loops(formulas.weighted, _kind(_look(x)), _kind(_look(factors)))
    except Exception as error:
        return _reason(error, device)
    return None


@cache
def _made(formula: Formula, *kinds: Any) -> Callable[..., Any]:
    """The loops; the formula itself where they can't be made, as on a machine that a compiled network was taken to."""
    try:
        return _loops(formula, *kinds)
    except Exception as error:
        told = _reason(error, next(kind.device for kind in kinds if isinstance(kind, Kind)))
        warnings.warn(f"attention runs by plain operators, not compiled: {told}", NotCompiled, stacklevel=2)
        return formula


def _reason(error: Exception, device: torch.device) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    needs = "a C++ compiler (g++ or clang++)" if device.type == "cpu" else "Triton"
    return f"torch.compile needs {needs} and said: {lines[0][:200]}"


def _kind(look: Any) -> Any:
    """The kind of a tensor that looks so; anything else is its own."""
    if not isinstance(look, Look):
        return look
    shape, strides = look.shape, look.strides
    # An axis that is one number said again lies nowhere in memory: behind the one before it.
    steps = list(accumulate(strides, _own_or_before))
    order = tuple(sorted(range(len(shape)), key=lambda axis: -steps[axis]))
    ones = tuple(length == 1 for length in shape)
    repeated = tuple(stride == 0 and not one for stride, one in zip(strides, ones))
    whole = _is_whole(shape, strides, order)
    return Kind(look.dtype, look.device, ones, order, repeated, whole, look.is_inference)


def _own_or_before(before: int, own: int) -> int:
    return own or before


def _is_whole(shape: Sequence[int], strides: Sequence[int], order: Sequence[int]) -> bool:
    expected = 1
    for axis in reversed(order):
        if shape[axis] > 1 and strides[axis]:
            if strides[axis] != expected:
                return False
            expected *= shape[axis]
    return True


@cache
def _loops(formula: Formula, *kinds: Any) -> Callable[..., Any]:
    """A function of its own: torch.compile counts how often it compiled each, and stops at eight."""
    code = formula.__code__.replace(co_name=f"{formula.__name__}_{abs(hash(kinds))}")
    own = FunctionType(code, formula.__globals__, formula.__name__, formula.__defaults__)
    loops = torch.compile(own, dynamic=True, fullgraph=True)
    named = zip(signature(formula).parameters, kinds)
    loops(*(_typical(name, kind, number) for number, (name, kind) in enumerate(named, 2)))
    return loops


def _typical(name: str, kind: Any, number: int) -> Any:
    """An argument of that kind with the lengths that loops are compiled with; `number` is another for each."""
    if not isinstance(kind, Kind):
        return kind
    lengths = [1 if one else length for one, length in zip(kind.ones, _lengths(name, len(kind.ones)))]
    held = [1 if again else length for again, length in zip(kind.repeated, lengths)]
    part = list(held)
    if not kind.is_whole:
        # Of several maps that lie side by side, of each argument in another number.
        held[1] *= number
    with torch.inference_mode(kind.is_inference):
        x = torch.zeros([held[axis] for axis in kind.order], dtype=kind.dtype, device=kind.device)
        x = x.permute([kind.order.index(axis) for axis in range(len(kind.order))])
        return (x if kind.is_whole else x.narrow(1, 0, part[1])).expand(lengths).data


def _lengths(name: str, dims: int) -> tuple[int, ...]:
    positions = SPATIAL[1] if dims < 4 else SPATIAL[dims - 2]
    if name in MAPS:
        return IMAGES, CHANNELS, *positions
    if dims == 2:
        return IMAGES, CHANNELS if name in OF_CHANNELS else positions[0]
    return (IMAGES, CHANNELS, *[1] * len(positions)) if name in OF_CHANNELS else (IMAGES, 1, *positions)
