"""The smallest image that a network takes: comparing outputs on it costs little, and proves as much as a large one."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surgeon.errors import BadInput
from surgeon.trace import inputs
from surgeon.trace.outputs import outputs

SIDES = (64, 96, 128)


class Answer(NamedTuple):
    """What a model returned for an image, as a flat list of tensors."""

    image: Tensor
    outputs: list[Tensor]


def small(model: nn.Module, *, batch: int = 1, seed: int = 0) -> Tensor:
    """An input of noise, as small as `model` takes it, on its device and of its type.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return answered(model, batch=batch, seed=seed).image


def answered(model: nn.Module, *, batch: int = 1, seed: int = 0) -> Answer:
    """A `small` input and the outputs for it, since a large network takes long to run a second time."""
    return _first(model, [*_small_shapes(model), *inputs.guesses(model)], batch, seed)


def natural(model: nn.Module, *, batch: int = 1, seed: int = 0) -> Tensor:
    """An input of noise of the size that the network was made for.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return _first(model, inputs.guesses(model), batch, seed).image


def _first(model: nn.Module, shapes: Iterable[tuple[int, ...]], batch: int, seed: int) -> Answer:
    """Noise of the first of `shapes` that the model takes, and what it answers."""
    weight = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    for shape in shapes:
        image = torch.randn(batch, *shape, generator=generator).to(weight.device, weight.dtype)
        try:
            return Answer(image, outputs(model, (image,)))
        # A network refuses a size with whatever exception its author chose.
        except Exception:
            continue
    raise BadInput(f"{type(model).__name__} runs on no image that surgeon can think of.")


def _small_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """The likeliest shape of an input, with small sides."""
    guesses = inputs.guesses(model)
    return [(*guesses[0][:-2], side, side) for side in SIDES] if guesses else []
