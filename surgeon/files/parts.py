"""Files taken apart and put together again: the base alone, the attention alone, both."""

from collections import OrderedDict
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surgeon import networks
from surgeon.checkpoints import digest, nested, optimizer
from surgeon.checkpoints.checkpoint import Checkpoint
from surgeon.checkpoints.prefix import find_prefix, unprefixed
from surgeon.errors import BadFile, BadOption
from surgeon.files import folder, formats, intake, rebuild, store
from surgeon.files.atomic import replacing
from surgeon.files.loaded import LoadedModel
from surgeon.files.recipe import Recipe, to_text
from surgeon.files.store import SurgeonFile
from surgeon.trace.noise import resolved


def strip(
    file: str | PathLike[str],
    output: str | PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
    drop_optimizer: bool = False,
    allow_pickle: bool = False,
    allow_imports: bool = False,
) -> Recipe:
    """Write the base of a file of surgeon's without the attention: keys, order and bytes as they came.

    Returns the file's recipe.

    Raises:
        BadFile: not a file of surgeon's, or a damaged one.
    """
    opened = intake.open_surgeon_file(file, allow_pickle=allow_pickle)
    digest.compare(opened.tensors, opened.recipe.stock, str(file))
    chosen = formats.format_of(output, format)
    if chosen not in ("safetensors", "pth", "folder"):
        raise BadOption(f"strip gives weights back: a .safetensors, a .pth or a folder, not {chosen}.")
    with replacing(output, force=force) as fresh:
        if chosen == "safetensors":
            store.write_safetensors(_stock(opened), None, fresh)
        elif chosen == "pth":
            torch.save(_stock_checkpoint(opened, drop_optimizer, allow_imports), fresh)
        else:
            _write_stock_folder(opened, fresh)
    return opened.recipe


def _stock(opened: SurgeonFile) -> OrderedDict[str, Tensor]:
    """The base's tensors under the keys that they had in the file which came in."""
    return OrderedDict((opened.recipe.prefix + key, opened.tensors[key]) for key in opened.recipe.stock)


def _stock_checkpoint(opened: SurgeonFile, drop_optimizer: bool, allow_imports: bool) -> Any:
    """The checkpoint as it came in, where the file still has its shape; else a state dict."""
    checkpoint, recipe = opened.checkpoint, opened.recipe
    if checkpoint.whole is None or checkpoint.nest == ((),):
        return _stock(opened)

    def without_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        prefix = find_prefix(tensors, opened.tensors)
        return OrderedDict(
            (key, value) for key, value in tensors.items() if not recipe.is_attention(key.removeprefix(prefix))
        )

    if not nested.has_optimizer(checkpoint) or drop_optimizer:
        return nested.changed(checkpoint, weights=without_attention, state=None)
    model = rebuild.rebuild(recipe, allow_imports=allow_imports)
    new = {name for name, _ in model.named_parameters() if recipe.is_attention(name)}

    def without_new_parameters(state: dict[str, Any]) -> dict[str, Any]:
        return optimizer.shrink(state, model, new)

    return nested.changed(checkpoint, weights=without_attention, state=without_new_parameters)


def _write_stock_folder(opened: SurgeonFile, path: Path) -> None:
    path.mkdir()
    folder.write_stock_config(opened.recipe.base, path / "config.json")
    store.write_safetensors(store.stock(opened.recipe, opened.tensors), None, path / "model.safetensors")


def delta(
    file: str | PathLike[str], output: str | PathLike[str], *, force: bool = False, allow_pickle: bool = False
) -> int:
    """Write the attention alone, with the recipe: a few MB that `merge` puts back on the base.

    Returns the bytes of its tensors.
    """
    opened = intake.open_surgeon_file(file, allow_pickle=allow_pickle)
    tensors = store.attention(opened.recipe, opened.tensors)
    digest.compare(tensors, {key: opened.recipe.tensors[key] for key in tensors}, str(file))
    if formats.format_of(output) != "safetensors":
        raise BadOption(f"a delta is a .safetensors file; {output} ends otherwise.")
    with replacing(output, force=force) as fresh:
        store.write_safetensors(tensors, to_text(opened.recipe), fresh)
    return store.size(tensors)


def merge(
    base: str | PathLike[str],
    part: str | PathLike[str],
    output: str | PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
    allow_pickle: bool = False,
    allow_imports: bool = False,
    ema: bool = False,
    example_inputs: Any = None,
) -> None:
    """Put the attention in the file `part`, a delta, onto the weights in the file `base`, and write the whole.

    Args:
        example_inputs: what to watch the network on, in place of the example in `part`.

    Raises:
        BadFile: the base is not the one that the attention was trained on; names the first tensor that differs.
    """
    opened = intake.open_surgeon_file(part, allow_pickle=allow_pickle)
    recipe = opened.recipe
    if any(key in opened.tensors for key in recipe.stock):
        raise BadOption(f"{part} is no delta: it has the base's weights as well. surgeon delta FILE makes one.")
    weights = _base_weights(base, recipe, allow_pickle, ema)
    digest.compare(weights.tensors, recipe.stock, f"{base} is not the base of {part}")
    tensors = weights.tensors | opened.tensors
    model = store.restore(
        recipe, tensors, str(part), allow_imports=allow_imports, copy=False, example_inputs=example_inputs
    )
    example = resolved(recipe.example if example_inputs is None else example_inputs, model)
    loaded = LoadedModel(model, recipe.base, str(base), weights.checkpoint, weights.prefix, example=example)
    formats.write(model, to_text(recipe), output, loaded=loaded, format=format, force=force)


class _BaseWeights(NamedTuple):
    """The base's tensors under the network's keys, the checkpoint they are from, what stood in front of the keys."""

    tensors: dict[str, Tensor]
    checkpoint: Checkpoint | None = None
    prefix: str = ""


def _base_weights(base: str | PathLike[str], recipe: Recipe, allow_pickle: bool, ema: bool) -> _BaseWeights:
    if intake.is_name(base):
        return _BaseWeights(dict(networks.build(str(base), pretrained=True).state_dict()))
    found = intake.open_file(base, allow_pickle=allow_pickle, ema=ema)
    if isinstance(found, nn.Module):
        return _BaseWeights(dict(found.state_dict()))
    tensors, prefix = unprefixed(found.tensors, recipe.stock)
    difference = rebuild.first_key_difference(recipe.stock, (key for key in tensors if not recipe.is_attention(key)))
    if difference:
        raise BadFile(f"{base} is not the base {recipe.base}: {difference}.")
    return _BaseWeights({key: tensors[key] for key in recipe.stock}, found, prefix)
