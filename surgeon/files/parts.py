"""Files taken apart and put together again: the base alone, the attention alone, both."""

from collections import OrderedDict

import torch

from surgeon import networks
from surgeon.checkpoints import digest, nested, optimizer
from surgeon.errors import BadFile, BadOption
from surgeon.files import folder, formats, intake, rebuild, recipe, store
from surgeon.files.atomic import replacing
from surgeon.networks.identify import first_difference


def strip(file, output, *, format=None, force=False, drop_optimizer=False, allow_pickle=False, allow_imports=False):
    """Write the base of a file of surgeon's without the attention: keys, order and bytes as they came.

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
            _stock_folder(opened, fresh)
    return opened.recipe


def _stock(opened):
    """The base's tensors under the keys that they had in the file which came in."""
    return OrderedDict((opened.recipe.prefix + key, opened.tensors[key]) for key in opened.recipe.stock)


def _stock_checkpoint(opened, drop_optimizer, allow_imports):
    """The checkpoint as it came in, where the file still has its shape; else a state dict."""
    attention = {opened.prefix + key for key in opened.tensors if opened.recipe.is_attention(key)}

    def without(tensors):
        return OrderedDict((key, value) for key, value in tensors.items() if key not in attention)

    if opened.checkpoint.whole is None or opened.checkpoint.nest == ((),):
        return _stock(opened)
    if not nested.has_optimizer(opened.checkpoint) or drop_optimizer:
        return nested.changed(opened.checkpoint, weights=without, state=None)
    model = rebuild.rebuild(opened.recipe, allow_imports=allow_imports)
    new = {name for name, _ in model.named_parameters() if opened.recipe.is_attention(name)}
    return nested.changed(opened.checkpoint, weights=without, state=lambda state: optimizer.shrink(state, model, new))


def _stock_folder(opened, path):
    path.mkdir()
    folder.write_stock_config(opened.recipe.base, path / "config.json")
    store.write_safetensors(store.stock(opened.recipe, opened.tensors), None, path / "model.safetensors")


def delta(file, output, *, force=False, allow_pickle=False):
    """Write the attention alone, with the recipe: a few MB that `merge` puts back on the base.

    Returns the bytes of its tensors.
    """
    opened = intake.open_surgeon_file(file, allow_pickle=allow_pickle)
    tensors = store.attention(opened.recipe, opened.tensors)
    digest.compare(tensors, {key: opened.recipe.tensors[key] for key in tensors}, str(file))
    _only_safetensors(output, "a delta")
    with replacing(output, force=force) as fresh:
        store.write_safetensors(tensors, recipe.to_text(opened.recipe), fresh)
    return store.size(tensors)


def _only_safetensors(output, what):
    if formats.format_of(output) != "safetensors":
        raise BadOption(f"{what} is a .safetensors file; {output} ends otherwise.")


def merge(base, part, output, *, format=None, force=False, allow_pickle=False, allow_imports=False, ema=False):
    """Put the attention in the file `part`, a delta, onto the weights in the file `base`, and write the whole.

    Raises:
        BadFile: the base is not the one that the attention was trained on; names the first tensor that differs.
    """
    opened = intake.open_surgeon_file(part, allow_pickle=allow_pickle)
    if any(key in opened.tensors for key in opened.recipe.stock):
        raise BadOption(f"{part} is no delta: it has the base's weights as well. surgeon delta FILE makes one.")
    tensors, found, prefix = _base_tensors(base, opened.recipe, allow_pickle, ema)
    digest.compare(tensors, opened.recipe.stock, f"{base} is not the base of {part}")
    model = store.restore(opened.recipe, tensors | opened.tensors, str(part), allow_imports=allow_imports, copy=False)
    given = intake.LoadedModel(model, opened.recipe.base, str(base), found, prefix)
    formats.write(model, recipe.to_text(opened.recipe), output, given=given, format=format, force=force)


def _base_tensors(base, made, allow_pickle, ema):
    """(the base's tensors under the network's keys, the checkpoint they are from, what stood in front of the keys)."""
    if intake.is_name(base):
        model = networks.build(base, pretrained=True)
        return dict(model.state_dict()), None, ""
    found = intake.open_file(base, allow_pickle=allow_pickle, ema=ema)
    if isinstance(found, torch.nn.Module):
        return dict(found.state_dict()), None, ""
    tensors, prefix = intake.unwrapped(found, made.stock)
    difference = first_difference(dict.fromkeys(made.stock, ()), {key: () for key in tensors if not made.is_attention(key)})
    if difference:
        raise BadFile(f"{base} is not the base {made.base}: {difference}.")
    return {key: tensors[key] for key in made.stock}, found, prefix
