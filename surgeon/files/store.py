"""surgeon's own files: weights with the recipe beside them, and the way back to a network."""

from collections import OrderedDict
from dataclasses import dataclass

import safetensors.torch
import torch

from surgeon import networks
from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import KEY, Checkpoint
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile
from surgeon.files import rebuild, recipe
from surgeon.networks.identify import first_difference
from surgeon.networks.weights import load_weights, shapes_of


def metadata(text):
    """What a file carries besides its weights: the recipe, and the recipe's own SHA-256."""
    return {"format": "pt", "surgeon": text, "surgeon_sha256": digest.of_text(text)}


def write_safetensors(tensors, text, path):
    """Weights to one safetensors file, with the recipe `text` (None for none) in its metadata.

    Tensors that share memory are written each on its own: the format knows no ties, the network does.
    """
    safetensors.torch.save_file(_apart(tensors), path, metadata=metadata(text) if text else {"format": "pt"})


def _apart(tensors):
    seen, apart = set(), {}
    for key, value in tensors.items():
        value = value.detach().contiguous()
        place = value.untyped_storage().data_ptr()
        apart[key] = value.clone() if place in seen and value.numel() else value
        seen.add(place)
    return apart


def labelled(tensors, text):
    """The state dict with the recipe on it, as an attribute that pickle keeps: its keys stay weights only."""
    labelled = OrderedDict(tensors)
    setattr(labelled, KEY, (text, digest.of_text(text)))
    return labelled


@dataclass(frozen=True)
class SurgeonFile:
    """A file that surgeon wrote: what it is made from, its tensors under the network's keys, what stands in front of these in the file."""

    checkpoint: Checkpoint
    recipe: recipe.Recipe
    tensors: dict
    prefix: str


def opened(checkpoint):
    """The SurgeonFile that a Checkpoint is; its recipe is unharmed, its tensors are not yet compared.

    Raises:
        BadFile: it carries no recipe, or one that was altered.
    """
    made = recipe.verified(checkpoint.recipe, checkpoint.recipe_sha256, str(checkpoint.path))
    prefix = find_prefix(checkpoint.tensors, made.tensors)
    return SurgeonFile(checkpoint, made, strip_prefix(checkpoint.tensors, prefix)[0], prefix)


def restore(made, tensors, what, *, allow_imports=False, copy=True, progress=None):
    """The network of the recipe `made` with `tensors` in it, every one of them compared with its SHA-256.

    Raises:
        BadFile: a tensor is missing, superfluous, of another shape or of other bits; names the first.
    """
    if set(tensors) and not any(key in tensors for key in made.stock):
        raise BadFile(f"{what} is a delta, attention alone: surgeon merge BASE {what} --output FILE puts it on its base.")
    difference = first_difference(dict.fromkeys(made.tensors, ()), dict.fromkeys(tensors, ()))
    if difference:
        raise BadFile(f"{what} is not whole: {difference}.")
    digest.compare(tensors, made.tensors, what, progress=progress)
    model = rebuild.rebuild(made, allow_imports=allow_imports)
    difference = first_difference(shapes_of(model), {key: tuple(value.shape) for key, value in tensors.items()})
    if difference:
        raise BadFile(f"{what} does not fit {made.base}: {difference}.")
    load_weights(model, {key: tensors[key] for key in made.tensors}, copy=copy)
    return networks.remember(model, made.base)


def stock(made, tensors):
    """The base's tensors alone, in the order in which they came."""
    return {key: tensors[key] for key in made.stock}


def attention(made, tensors):
    """The attention's tensors alone."""
    return {key: value for key, value in tensors.items() if made.is_attention(key)}


def size(tensors):
    """Bytes of all tensors together."""
    return sum(value.numel() * value.element_size() for value in tensors.values() if isinstance(value, torch.Tensor))
