"""Arguments to call a network with, made of what a user gave: tensors, or words for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from surgeon.trace.examples import DTYPES, Form, Spec, mapped, parse
from surgeon.trace.inputs import Arguments, given

# More integers than that are data (words, labels), and no file need hold them.
FEW = 64


def resolved(example_inputs: Any, model: nn.Module) -> Arguments | None:
    """A user's `example_inputs` as arguments for `model`: tensors as they are, a text or a Form as noise.

    Raises:
        BadInput, BadOption: it is none of these.
    """
    if example_inputs is None or isinstance(example_inputs, Arguments):
        return example_inputs
    if isinstance(example_inputs, str):
        example_inputs = parse(example_inputs)
    if isinstance(example_inputs, Form):
        return drawn(example_inputs, dtype_of(model))
    return given(example_inputs, None)


def drawn(form: Form, dtype: torch.dtype = torch.float32, *, seed: int = 0) -> Arguments:
    """Arguments of this form, the same at each call: noise; integers are 0 or 1, which every table of words has.

    Args:
        dtype: of the network's weights.
    """
    generator = torch.Generator().manual_seed(seed)

    def with_numbers(value: Any) -> Any:
        if isinstance(value, Spec):
            own = getattr(torch, value.dtype) if value.dtype else dtype
            if value.values is not None:
                return torch.tensor(value.values, dtype=own).view(value.shape)
            return _numbers(value.shape, own, generator)
        return mapped(value, with_numbers)

    args = tuple(map(with_numbers, form.args))
    return Arguments(args, {name: with_numbers(value) for name, value in form.kwargs.items()})


def _numbers(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if dtype == torch.bool:
        # A mask that hides everything would leave nothing to compare.
        return torch.ones(shape, dtype=dtype)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def form_of(example: Arguments, dtype: torch.dtype) -> Form | None:
    """The Form of an example; None where it holds what a recipe has no words for.

    Args:
        dtype: of the network's weights: what has the same type follows the network.
    """

    def without_numbers(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return Spec(tuple(value.shape), None if value.dtype == dtype else _name(value.dtype), _few_integers(value))
        return mapped(dict(value) if isinstance(value, Mapping) else value, without_numbers)

    try:
        args = tuple(map(without_numbers, example.args))
        return Form(args, {name: without_numbers(value) for name, value in example.kwargs.items()})
    except TypeError:
        return None


def _few_integers(tensor: torch.Tensor) -> tuple[int, ...] | None:
    is_integer = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if not is_integer or tensor.is_meta or tensor.numel() > FEW:
        return None
    return tuple(tensor.flatten().tolist())


def _name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise TypeError(f"a tensor of {name} has no words")
    return name


def dtype_of(model: nn.Module) -> torch.dtype:
    """The type of the network's weights."""
    weights = (weight.dtype for weight in model.parameters() if weight.is_floating_point())
    return next(weights, torch.float32)


_NOTE = "_example"


def note(model: nn.Module, example: Arguments | None) -> None:
    """Keep on `model` the form of what it was run on when it was operated on; None forgets it."""
    model.__dict__.pop(_NOTE, None)
    form = form_of(example, dtype_of(model)) if example is not None else None
    if form is not None:
        model.__dict__[_NOTE] = form


def noted(model: nn.Module) -> Form | None:
    """The Form that `note` has kept."""
    return model.__dict__.get(_NOTE)
