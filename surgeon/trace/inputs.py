"""An input to watch a model with: the user's own, or one guessed from what the model says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from surgeon.errors import BadInput
from surgeon.outside.timm import ARGUMENTS
from surgeon.outside.torch import tree_leaves, tree_map_only

BATCH = 2
_SIDES = (224, 256, 299, 384, 32)
_FRAMES = (16, 8, 32)

Shape = tuple[int, ...]


class Arguments(NamedTuple):
    """What a model is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def given(example_inputs: Any, device: torch.device | str | None) -> Arguments:
    """A user's `example_inputs` on a device: a tensor, a tuple of arguments, a dict of keywords, or Arguments.

    Copied, since networks change their input in place.

    Args:
        device: None leaves each tensor where it is.
    """
    copied = lambda tensor: tensor.detach().to(device or tensor.device, copy=True)
    return Arguments(*tree_map_only(torch.Tensor, copied, tuple(_arguments(example_inputs))))


def is_without_numbers(example_inputs: Any) -> bool:
    """True for an example on meta, which says shapes alone."""
    if example_inputs is None:
        return False
    leaves = tree_leaves(tuple(_arguments(example_inputs)))
    return any(leaf.is_meta for leaf in leaves if isinstance(leaf, torch.Tensor))


def _arguments(example_inputs: Any) -> Arguments:
    if isinstance(example_inputs, Arguments):
        return example_inputs
    if isinstance(example_inputs, Mapping):
        return Arguments((), dict(example_inputs))
    if isinstance(example_inputs, torch.Tensor):
        return Arguments((example_inputs,), {})
    if isinstance(example_inputs, (tuple, list)):
        return Arguments(tuple(example_inputs), {})
    kind = type(example_inputs).__name__
    raise BadInput(
        f"example_inputs must be a tensor, a tuple of arguments, a dict or a text such as '1x3x64x64', not {kind}."
    )


def guesses(model: nn.Module) -> list[Shape]:
    """Shapes of inputs that this model may take, the likeliest first; without the batch.

    A model says so itself (`pretrained_cfg`, `image_size`, `config.image_size`), or its first convolution does.
    """
    shapes = [*_requested(model), *_published(model), *_configured(model)]
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))), None)
    channels = first.in_channels if first is not None else 3
    if isinstance(first, nn.Conv3d):
        shapes += [(channels, frames, side, side) for side in (224, 112) for frames in _FRAMES]
    elif not isinstance(first, nn.Conv1d):
        shapes += [(channels, side, side) for side in _SIDES]
    return list(dict.fromkeys(shapes))


def _requested(model: nn.Module) -> Iterator[Shape]:
    """What the constructor was called with: it counts for more than the size that the weights were published for."""
    # timm notes the arguments that it was called with.
    noted = getattr(model, ARGUMENTS, None)
    size = noted.get("img_size") if isinstance(noted, dict) else None
    for side in (size, *(getattr(module, "img_size", None) for module in model.modules())):
        if sides := _sides(side):
            yield (_channels(model, 3), *sides)


def _published(model: nn.Module) -> Iterator[Shape]:
    """What timm's notes on the weights say."""
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        size = getattr(config, "input_size", None) or (config.get("input_size") if isinstance(config, dict) else None)
        if size and all(isinstance(n, int) for n in size):
            yield tuple(size)
            # A network built for other images than the configuration's (`in_chans=1`) keeps its sides.
            yield (_channels(model, size[0]), *size[1:])


def _configured(model: nn.Module) -> Iterator[Shape]:
    """What the model's own attributes say, or those of its configuration."""
    config = getattr(model, "config", None)
    for side in (getattr(model, "image_size", None), getattr(config, "image_size", None)):
        if sides := _sides(side):
            yield (getattr(config, "num_channels", 3), *sides)


def _channels(model: nn.Module, otherwise: int) -> int:
    """How many channels the first convolution takes."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return otherwise if first is None else first.in_channels


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) of a size as people write it; None of anything else."""
    if isinstance(size, int):
        size = size, size
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        return None
    height, width = size
    is_size = all(isinstance(side, int) and side > 0 for side in size)
    return (height, width) if is_size else None
