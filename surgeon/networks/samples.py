"""The smallest image that a network takes: comparing outputs on it costs little, and proves as much as a large one."""

import torch

from surgeon.errors import BadInput
from surgeon.trace import inputs
from surgeon.trace.outputs import outputs

SIDES = (64, 96, 128)


def small(model, *, batch=1, seed=0):
    """An input of noise, as small as `model` takes it, on its device and of its type.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return answered(model, batch=batch, seed=seed)[0]


def answered(model, *, batch=1, seed=0):
    """A `small` input and the model's outputs for it, a flat list of tensors: each run of a large network is long."""
    return _first(model, [*_small_shapes(model), *inputs.guesses(model)], batch, seed)


def natural(model, *, batch=1, seed=0):
    """An input of noise of the size that the network was made for.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    return _first(model, inputs.guesses(model), batch, seed)[0]


def _first(model, shapes, batch, seed):
    """Noise of the first of `shapes` that the model takes, and what it answers."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    for shape in shapes:
        image = torch.randn(batch, *shape, generator=generator).to(weight.device, weight.dtype)
        try:
            return image, outputs(model, (image,))
        # A network says no with whatever exception its author chose.
        except Exception:
            continue
    raise BadInput(f"{type(model).__name__} runs on no image that surgeon can think of.")


def _small_shapes(model):
    return [(*shape[:-2], side, side) for side in SIDES for shape in list(inputs.guesses(model))[:1]]
