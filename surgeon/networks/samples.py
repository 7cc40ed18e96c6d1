"""The smallest image that a network takes: comparing outputs on it costs little, and proves as much as a large one."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surgeon.errors import BadInput
from surgeon.trace import inputs
from surgeon.trace.inputs import Arguments
from surgeon.trace.outputs import outputs

SIDES = (64, 96, 128)


class Answer(NamedTuple):
    """What a model was called with, and what it returned, as a flat list of tensors."""

    example: Arguments
    outputs: list[Tensor]


def small(model: nn.Module, *, batch: int = 1, seed: int = 0) -> Tensor:
    """An input of noise, as small as `model` takes it, on its device and of its type.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return _image(_first(model, [*_small_shapes(model), *inputs.guesses(model)], batch, seed))


def answered(model: nn.Module, example: Arguments | None = None, *, batch: int = 1, seed: int = 0) -> Answer:
    """An input and the outputs for it, since a large network takes long to run a second time.

    Args:
        example: what somebody said that it runs on; None for a `small` one.
    """
    if example is not None:
        args, kwargs = on_device(example, model)
        # A network may change its input in place.
        return Answer(example, outputs(model, args, kwargs))
    return _first(model, [*_small_shapes(model), *inputs.guesses(model)], batch, seed)


def natural(model: nn.Module, *, batch: int = 1, seed: int = 0) -> Tensor:
    """An input of noise of the size that the network was made for.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return _image(_first(model, inputs.guesses(model), batch, seed))


def sized(model: nn.Module, size: tuple[int, int], *, batch: int = 1, seed: int = 0) -> Tensor:
    """An input of noise of this height and width, with as many channels (and frames) as the network takes.

    Raises:
        BadInput: it runs on no such image.
    """
    shapes = dict.fromkeys((*shape[:-2], *size) for shape in inputs.guesses(model))
    return _image(_first(model, shapes, batch, seed))


def on_device(example: Arguments, model: nn.Module) -> Arguments:
    """A copy of the example where the model's weights are."""
    return inputs.given(example, next((weight.device for weight in model.parameters()), torch.device("cpu")))


def _image(answer: Answer) -> Tensor:
    image: Tensor = answer.example.args[0]
    return image


def _first(model: nn.Module, shapes: Iterable[tuple[int, ...]], batch: int, seed: int) -> Answer:
    """Noise of the first of `shapes` that the model takes, and what it answers."""
    weight = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    for shape in shapes:
        image = torch.randn(batch, *shape, generator=generator).to(weight.device, weight.dtype)
        try:
            return Answer(Arguments((image,), {}), outputs(model, (image,)))
        # A network refuses a size with whatever exception its author chose.
        except Exception:
            continue
    raise BadInput(f"{type(model).__name__} runs on no image that surgeon can think of.")


def _small_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """The likeliest shape of an input, with small sides."""
    guesses = inputs.guesses(model)
    return [(*guesses[0][:-2], side, side) for side in SIDES] if guesses else []
