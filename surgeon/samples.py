"""The smallest image that a network takes: comparing outputs on it costs little, and proves as much as a large one."""

import torch

from surgeon import examples
from surgeon.errors import BadInput
from surgeon.trace import in_mode

SIDES = (64, 96, 128)


def small(model, *, batch=1, seed=0):
    """An input of noise, as small as `model` takes it, on its device and of its type.

    Raises:
        BadInput: it runs on no image that surgeon can think of.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    for shape in _shapes(model):
        image = torch.randn(batch, *shape, generator=generator).to(weight.device, weight.dtype)
        if _runs(model, image):
            return image
    raise BadInput(f"{type(model).__name__} runs on no image that surgeon can think of.")


def _shapes(model):
    """Small ones first, then what the model itself says."""
    guesses = list(examples.guesses(model))
    for side in SIDES:
        yield from dict.fromkeys((*shape[:-2], side, side) for shape in guesses[:1])
    yield from guesses


@torch.no_grad()
def _runs(model, image):
    """Whether the model takes this image; a network says no with whatever exception its author chose."""
    try:
        with in_mode(model, False):
            model(image)
    except Exception:
        return False
    return True
