"""From what people have to a file with attention in it: take, plan, apply, compare or fill, write."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from surgeon import operation
from surgeon.checkpoints import checkpoint, digest, nested
from surgeon.checkpoints.checkpoint import first_line
from surgeon.checkpoints.published import load_published
from surgeon.errors import BadFile, BadInput, CheckFailed
from surgeon.files import formats, recipe, store
from surgeon.files.atomic import refuse_target
from surgeon.files.derive import recipe_of
from surgeon.files.intake import LoadedModel
from surgeon.networks import samples
from surgeon.sites import Plan
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits


@dataclass(frozen=True)
class Conversion:
    """What was done.

    loaded: the network and where it came from, the attention now in it.
    plan: what was put where.
    parameters: number of weights before.
    note: what there is to say about the file, such as the sizes that an exported program takes.
    moved: how far the output on a small image moved: (largest absolute difference, the same relative to the largest output);
        None where all weights are others than before.
    """

    loaded: LoadedModel
    plan: Plan
    parameters: int
    moved: tuple[float, float] | None
    note: str | None = None


def convert(loaded, decided, output, *, format=None, force=False, drop_optimizer=False, progress=None):
    """Apply the plan `decided` to the network that was taken in, compare its outputs before and after, and write it.

    Args:
        loaded: from `intake.open_source`; its model is changed.
        output: path; its ending, or `format`, chooses the format.
        progress: with a method `step(text, bytes)`, and called with bytes that are done.

    Raises:
        CheckFailed: with `init="identity"` the output is not the same, bit for bit. Nothing is written then.
    """
    chosen = formats.format_of(output, format)
    refuse_target(output, force)
    parameters = sum(weight.numel() for weight in loaded.model.parameters())
    stock = loaded.model.state_dict()
    _step(progress, "hashing and comparing", store.size(stock))
    # One thread for both runs: each thread keeps memory of its own for what a layer needs besides its weights.
    with ThreadPoolExecutor(1) as beside:
        # The base's weights do not change any more: they are hashed while the network runs.
        before = beside.submit(_answered, loaded.model, loaded.example)
        hashed = digest.of_tensors(stock, progress=progress)
        answer = _operate(loaded.model, decided, loaded.example, before)
        made = recipe_of(loaded.model, base=loaded.base, order=loaded.order, prefix=loaded.prefix, known=hashed)
        # Writing waits for the disk: meanwhile the network runs once more. An exporter wants it for itself.
        moved = beside.submit(_moved, loaded.model, decided, answer)
        if chosen in formats.EXPORTS:
            moved.result()
        _step(progress, "writing", None)
        if drop_optimizer and loaded.checkpoint is not None:
            loaded = replace(loaded, checkpoint=nested.without_optimizers(loaded.checkpoint))
        told = formats.write(loaded.model, recipe.to_text(made), output, given=loaded, format=format, force=force, unless=moved.result)
    return Conversion(loaded, decided, parameters, moved.result(), told)


def _step(progress, text, total):
    if progress is not None:
        progress.step(text, total)


def _operate(model, decided, example, before):
    """Apply the plan once the run `before` is over; what it gave, or None where surgeon knows no input."""
    try:
        answer = before.result()
    except BadInput:
        # Detectors take lists of images; there the backbone is compared, which is where the attention is.
        operation.apply(model, decided, check="output")
        return None
    operation.apply(model, decided, example_inputs=example and example[0])
    return answer


def _moved(model, decided, answer):
    """How far the output moved.

    Raises:
        CheckFailed: with `init="identity"`, at all.
    """
    if answer is None:
        return (0.0, 0.0) if decided.init == "identity" else (float("nan"), float("nan"))
    inputs, before = answer
    after = _after(model, inputs)
    if decided.init == "identity" and not same_bits(before, after):
        raise CheckFailed(f"the output differs from the original's by up to {max_abs_diff(before, after):.3g}; nothing was written.")
    farthest = max_abs_diff(before, after)
    largest = max((float(part.abs().max()) for part in before if part.numel()), default=0.0)
    return farthest, farthest / largest if largest else 0.0


def _answered(model, example):
    """((args, kwargs), the model's outputs for them)."""
    if example:
        return example, outputs(model, *example)
    image, answer = samples.answered(model)
    return ((image,), {}), answer


def _after(model, inputs):
    """The outputs after the operation; a network that ran before and now raises is a failed check, whatever it raises."""
    try:
        return outputs(model, *inputs)
    except Exception as error:
        raise CheckFailed(f"the network ran before and does not run any more: {first_line(error)}. Nothing was written.") from error


def adopt(loaded, decided, path, output, *, format=None, force=False, ema=False, allow_pickle=False):
    """Apply the plan `decided` to a library's network, fill all of it from the published file at `path`, and write it.

    Args:
        loaded: from `intake.open_source`, whose weights do not matter; its model is changed.
        output: path; its ending, or `format`, chooses the format.
        ema: of a file with averaged weights as well, take these. allow_pickle: read pickled objects, running their code.

    Raises:
        BadFile: a tensor of the file has no place, or a place no tensor; all are named, and nothing is written.
    """
    formats.format_of(output, format)
    refuse_target(output, force)
    weights = _weights(path, ema, allow_pickle)
    parameters = sum(weight.numel() for weight in loaded.model.parameters())
    operation.apply(loaded.model, decided)
    try:
        load_published(loaded.model, weights)
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from None
    told = formats.write(loaded.model, recipe.to_text(recipe_of(loaded.model, base=loaded.base)), output, given=loaded, format=format, force=force)
    return Conversion(replace(loaded, description=f"{loaded.base}, published weights from {path}"), decided, parameters, None, told)


def _weights(path, ema, allow_pickle):
    found = checkpoint.read(path, allow_pickle=allow_pickle, ema=ema)
    return found.state_dict() if isinstance(found, torch.nn.Module) else found.tensors
