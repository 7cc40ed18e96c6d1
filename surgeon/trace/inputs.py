"""An input to watch a model with: the user's own, or one guessed from what the model says of itself."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from surgeon.errors import BadInput

BATCH = 2
_SIDES = (224, 256, 299, 384, 32)
_FRAMES = (16, 8, 32)


def given(example_inputs, device):
    """(args, kwargs) of a user's `example_inputs`: a tensor, a tuple of arguments, or a dict of keywords. Copied, since networks change their input in place."""
    moved = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().to(device, copy=True), _plain(example_inputs))
    if isinstance(moved, torch.Tensor):
        return (moved,), {}
    return ((), moved) if isinstance(moved, dict) else (tuple(moved), {})


def is_without_numbers(example_inputs):
    """True for an example on meta, which says shapes alone."""
    return example_inputs is not None and any(leaf.is_meta for leaf in tree_leaves(_plain(example_inputs)) if isinstance(leaf, torch.Tensor))


def _plain(example_inputs):
    if isinstance(example_inputs, Mapping):
        return dict(example_inputs)
    if isinstance(example_inputs, (torch.Tensor, tuple, list)):
        return example_inputs
    raise BadInput(f"example_inputs must be a tensor, a tuple of arguments or a dict, not {type(example_inputs).__name__}.")


def guesses(model):
    """Shapes of inputs that this model may take, the likeliest first; without the batch.

    A model says so itself (`pretrained_cfg`, `image_size`, `config.image_size`), or its first convolution does.
    """
    shapes = [*_told(model)]
    first = next((m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))), None)
    channels = first.in_channels if first is not None else 3
    if isinstance(first, nn.Conv3d):
        shapes += [(channels, frames, side, side) for side in (224, 112) for frames in _FRAMES]
    elif not isinstance(first, nn.Conv1d):
        shapes += [(channels, side, side) for side in _SIDES]
    return list(dict.fromkeys(shapes))


def _told(model):
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    # What the constructor was told counts for more than the size that the weights were published for.
    for side in (_noted(model), *(getattr(m, "img_size", None) for m in model.modules())):
        if sides := _sides(side):
            yield (first.in_channels if first is not None else 3, *sides)
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        size = getattr(config, "input_size", None) or (config.get("input_size") if isinstance(config, dict) else None)
        if size and all(isinstance(n, int) for n in size):
            yield tuple(size)
            # A network built for other images than the configuration's (`in_chans=1`) keeps its sides.
            yield (first.in_channels if first is not None else size[0], *size[1:])
    config = getattr(model, "config", None)
    for side in (getattr(model, "image_size", None), getattr(config, "image_size", None)):
        if sides := _sides(side):
            yield (getattr(config, "num_channels", 3), *sides)


def _noted(model):
    """The `img_size` that timm was asked for, as it notes it."""
    noted = getattr(model, "_model_args", None)
    return noted.get("img_size") if isinstance(noted, dict) else None


def _sides(size):
    """(height, width) of a size as people write it; None of anything else."""
    sides = (size, size) if isinstance(size, int) else size
    return tuple(sides) if isinstance(sides, (tuple, list)) and len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in sides) else None
