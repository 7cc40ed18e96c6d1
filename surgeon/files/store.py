"""surgeon's own files: weights with the recipe beside them, and the way back to a network."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from surgeon import networks
from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import KEY, Checkpoint
from surgeon.checkpoints.header import settle
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile
from surgeon.files import rebuild
from surgeon.files.recipe import Recipe, verified
from surgeon.networks.identify import first_difference
from surgeon.networks.weights import load_weights, shapes_of


def metadata(text: str) -> dict[str, str]:
    """What a file carries besides its weights: the recipe, and the recipe's own SHA-256."""
    return {"format": "pt", "surgeon": text, "surgeon_sha256": digest.of_text(text)}


def write_safetensors(tensors: Mapping[str, Tensor], text: str | None, path: str | PathLike[str]) -> None:
    """Weights to one safetensors file, with the recipe `text` (None for none) in its metadata.

    Tensors that share memory are written each on its own: the format knows no ties, the network does.
    """
    safetensors.torch.save_file(_apart(tensors), path, metadata=metadata(text) if text else {"format": "pt"})
    settle(path)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own."""
    taken: set[int] = set()
    apart = {}
    for key, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        address = tensor.untyped_storage().data_ptr()
        apart[key] = tensor.clone() if address in taken and tensor.numel() else tensor
        taken.add(address)
    return apart


def labelled(tensors: Mapping[str, Tensor], text: str) -> OrderedDict[str, Tensor]:
    """The state dict with the recipe on it, as an attribute that pickle keeps: its keys stay weights only."""
    labelled = OrderedDict(tensors)
    setattr(labelled, KEY, (text, digest.of_text(text)))
    return labelled


@dataclass(frozen=True)
class SurgeonFile:
    """A file that surgeon wrote.

    checkpoint: what was read.
    recipe: what its network is made from.
    tensors: its tensors under the network's own keys.
    prefix: what stands in front of these keys in the file.
    """

    checkpoint: Checkpoint
    recipe: Recipe
    tensors: dict[str, Tensor]
    prefix: str


def opened(checkpoint: Checkpoint) -> SurgeonFile:
    """The SurgeonFile that a Checkpoint is; its recipe is unharmed, its tensors are not yet compared.

    Raises:
        BadFile: it carries no recipe, or one that was altered.
    """
    recipe = verified(checkpoint.recipe, checkpoint.recipe_sha256, str(checkpoint.path))
    prefix = find_prefix(checkpoint.tensors, recipe.tensors)
    tensors, _ = strip_prefix(checkpoint.tensors, prefix)
    return SurgeonFile(checkpoint, recipe, tensors, prefix)


def restore(
    recipe: Recipe,
    tensors: Mapping[str, Tensor],
    what: str,
    *,
    allow_imports: bool = False,
    copy: bool = True,
    example_inputs: Any = None,
    progress: Callable[[int], object] | None = None,
) -> nn.Module:
    """The network of `recipe` with `tensors` in it, every one of them compared with its SHA-256.

    Args:
        what: the file that they are from, for errors.
        example_inputs: what to watch it on, in place of the recipe's own example.

    Raises:
        BadFile: a tensor is missing, superfluous, of another shape or of other bits; names the first.
    """
    if tensors and not any(key in tensors for key in recipe.stock):
        raise BadFile(
            f"{what} is a delta, attention alone: surgeon merge BASE {what} --output FILE puts it on its base."
        )
    difference = rebuild.first_key_difference(recipe.tensors, tensors)
    if difference:
        raise BadFile(f"{what} is not whole: {difference}.")
    digest.compare(tensors, recipe.tensors, what, progress=progress)
    model = rebuild.rebuild(recipe, allow_imports=allow_imports, example_inputs=example_inputs)
    difference = first_difference(shapes_of(model), {key: tuple(value.shape) for key, value in tensors.items()})
    if difference:
        raise BadFile(f"{what} does not fit {recipe.base}: {difference}.")
    load_weights(model, {key: tensors[key] for key in recipe.tensors}, copy=copy)
    return networks.remember(model, recipe.base)


def stock(recipe: Recipe, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The base's tensors alone, in the order in which they came."""
    return {key: tensors[key] for key in recipe.stock}


def attention(recipe: Recipe, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The attention's tensors alone."""
    return {key: value for key, value in tensors.items() if recipe.is_attention(key)}


def size(tensors: Mapping[str, object]) -> int:
    """Bytes of all tensors together."""
    return sum(value.numel() * value.element_size() for value in tensors.values() if isinstance(value, torch.Tensor))
