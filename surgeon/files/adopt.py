"""From weights that others have published, trained attention among them, to a file of surgeon's."""

from dataclasses import replace

import torch

from surgeon import operation
from surgeon.checkpoints import checkpoint
from surgeon.checkpoints.published import load_published
from surgeon.errors import BadFile
from surgeon.files import formats, recipe
from surgeon.files.atomic import refuse_target
from surgeon.files.convert import Conversion


def adopt(taken, decided, path, output, *, format=None, force=False, ema=False, allow_pickle=False):
    """Apply the plan `decided` to a library's network, fill all of it from the published file at `path`, and write it.

    Args:
        taken: from `intake.take`, whose weights do not matter; its model is changed.
        output: path; its ending, or `format`, chooses the format.
        ema: of a file with averaged weights as well, take these. allow_pickle: read pickled objects, running their code.

    Raises:
        BadFile: a tensor of the file has no place, or a place no tensor; all are named, and nothing is written.
    """
    formats.format_of(output, format)
    refuse_target(output, force)
    weights = _weights(path, ema, allow_pickle)
    parameters = sum(weight.numel() for weight in taken.model.parameters())
    operation.apply(taken.model, decided)
    try:
        load_published(taken.model, weights)
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from None
    told = formats.write(taken.model, recipe.to_text(recipe.of(taken.model, base=taken.base)), output, given=taken, format=format, force=force)
    return Conversion(replace(taken, told=f"{taken.base}, published weights from {path}"), decided, parameters, None, told)


def _weights(path, ema, allow_pickle):
    found = checkpoint.read(path, allow_pickle=allow_pickle, ema=ema)
    return found.state_dict() if isinstance(found, torch.nn.Module) else found.tensors
