"""From what people have to a file with attention in it: take, plan, apply, compare or fill, write."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from surgeon import operation
from surgeon.attention import EXACT, attention_modules
from surgeon.attention.published_names import gammas
from surgeon.checkpoints import checkpoint, digest, nested
from surgeon.checkpoints.checkpoint import first_line
from surgeon.checkpoints.published import load_published
from surgeon.errors import BadFile, BadInput, CheckFailed
from surgeon.files import formats, recipe, store
from surgeon.files.atomic import refuse_target
from surgeon.files.derive import recipe_of
from surgeon.files.loaded import LoadedModel
from surgeon.networks import samples
from surgeon.networks.samples import Answer
from surgeon.sites import Plan
from surgeon.trace.inputs import Arguments
from surgeon.trace.outputs import max_abs_diff, same_bits


class Distance(NamedTuple):
    """How far outputs lie apart: the largest absolute difference, and the same relative to the largest output."""

    absolute: float
    relative: float


@dataclass(frozen=True)
class Conversion:
    """What was done.

    loaded: the network and where it came from, the attention now in it.
    plan: what was put where.
    parameters: number of weights before.
    moved: how far the output on a small image moved; None where nobody knows: surgeon knows no input, or the weights
        are not those from before.
    is_published: whether all weights came from a published file.
    note: what there is to say of the file, such as the sizes that an exported program takes.
    """

    loaded: LoadedModel
    plan: Plan
    parameters: int
    moved: Distance | None
    note: str | None = None
    is_published: bool = False

    @property
    def gammas(self) -> list[float]:
        """How far each part of the attention acts: all 1 where it does in full."""
        state, gates = self.loaded.model.state_dict(), attention_modules(self.loaded.model)
        return [float(value) for key in sorted(gammas(gates)) for value in state[key].flatten()]


class Progress(Protocol):
    """What shows somebody how far the work is: called with bytes that are done; `step` names what is done next."""

    def __call__(self, count: int) -> object: ...

    def step(self, text: str, total: int | None = None) -> object: ...


def convert(
    loaded: LoadedModel,
    plan: Plan,
    output: str | PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
    drop_optimizer: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Apply `plan` to the network that was taken in, compare its outputs before and after, and write it.

    Args:
        loaded: from `intake.open_source`; its model is changed.
        output: path; its ending, or `format`, chooses the format.

    Raises:
        CheckFailed: with an exact start (any but paper) the output differs in a bit. Nothing is written then.
    """
    model, chosen = loaded.model, formats.format_of(output, format)
    refuse_target(output, force)
    parameters = _parameters(model)
    stock = model.state_dict()
    _step(progress, "hashing and comparing", store.size(stock))
    # One thread for both runs: each thread keeps memory of its own for what a layer needs besides its weights.
    with ThreadPoolExecutor(1) as beside:
        # The base's weights do not change any more: they are hashed while the network runs.
        first_run = beside.submit(samples.answered, model, loaded.example)
        hashes = digest.of_tensors(stock, progress=progress)
        before = _operate(model, plan, loaded.example, first_run)
        derived = recipe_of(
            model, base=loaded.base, order=loaded.order, prefix=loaded.prefix, known=hashes, example=loaded.example
        )
        # Writing waits for the disk: meanwhile the network runs once more. An exporter wants it for itself.
        moved = beside.submit(_moved, model, plan, before)
        if chosen in formats.EXPORTS:
            moved.result()
        _step(progress, "writing", None)
        loaded = _without_optimizers(loaded) if drop_optimizer else loaded
        text = recipe.to_text(derived)
        note = formats.write(model, text, output, loaded=loaded, format=format, force=force, unless=moved.result)
    return Conversion(loaded, plan, parameters, moved.result(), note)


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _step(progress: Progress | None, text: str, total: int | None) -> None:
    if progress is not None:
        progress.step(text, total)


def _operate(model: nn.Module, plan: Plan, example: Arguments | None, first_run: Future[Answer]) -> Answer | None:
    """Apply the plan once `first_run` is over; what that gave, or None where surgeon knows no input."""
    try:
        before = first_run.result()
    except BadInput:
        # Detectors take lists of images; there the backbone is compared, which is where the attention is.
        operation.apply(model, plan, check="output")
        return None
    operation.apply(model, plan, example_inputs=example)
    return before


def _moved(model: nn.Module, plan: Plan, before: Answer | None) -> Distance | None:
    """How far the output moved; None where that is not known.

    Raises:
        CheckFailed: with an exact start, at all.
    """
    is_exact = plan.init in EXACT
    if before is None:
        # What `_operate` compared in its place was the same to the bit.
        return Distance(0.0, 0.0) if is_exact else None
    after = _after(model, before.example)
    absolute = max_abs_diff(before.outputs, after)
    if is_exact and not same_bits(before.outputs, after):
        raise CheckFailed(f"the output differs from the original's by up to {absolute:.3g}; nothing was written.")
    largest = _largest(before.outputs)
    return Distance(absolute, absolute / largest if largest else 0.0)


def _after(model: nn.Module, example: Arguments) -> list[Tensor]:
    """The outputs after the operation; a network that ran before and raises anything now has failed the check."""
    try:
        return samples.answered(model, example).outputs
    except Exception as error:
        raise CheckFailed(
            f"the network ran before and does not run any more: {first_line(error)}. Nothing was written."
        ) from error


def _largest(tensors: Sequence[Tensor]) -> float:
    return max((float(tensor.abs().max()) for tensor in tensors if tensor.numel()), default=0.0)


def _without_optimizers(loaded: LoadedModel) -> LoadedModel:
    if loaded.checkpoint is None:
        return loaded
    return replace(loaded, checkpoint=nested.without_optimizers(loaded.checkpoint))


def adopt(
    loaded: LoadedModel,
    plan: Plan,
    path: str | PathLike[str],
    output: str | PathLike[str],
    *,
    format: str | None = None,
    force: bool = False,
    ema: bool = False,
    allow_pickle: bool = False,
) -> Conversion:
    """Apply `plan` to a library's network, fill all of it from the published file at `path`, and write it.

    Args:
        loaded: from `intake.open_source`, whose weights do not matter; its model is changed.
        output: path; its ending, or `format`, chooses the format.
        ema: of a file with averaged weights as well, take these.
        allow_pickle: read pickled objects, running their code.

    Raises:
        BadFile: a tensor of the file has no place, or a place no tensor; all are named, and nothing is written.
    """
    formats.format_of(output, format)
    refuse_target(output, force)
    weights = _weights(path, ema, allow_pickle)
    parameters = _parameters(loaded.model)
    operation.apply(loaded.model, plan, example_inputs=loaded.example)
    try:
        load_published(loaded.model, weights)
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from None
    text = recipe.to_text(recipe_of(loaded.model, base=loaded.base, example=loaded.example))
    note = formats.write(loaded.model, text, output, loaded=loaded, format=format, force=force)
    filled = replace(loaded, description=f"{loaded.base}, published weights from {path}")
    return Conversion(filled, plan, parameters, None, note, is_published=True)


def _weights(path: str | PathLike[str], ema: bool, allow_pickle: bool) -> dict[str, Tensor]:
    found = checkpoint.read(Path(path), allow_pickle=allow_pickle, ema=ema)
    return found.state_dict() if isinstance(found, nn.Module) else found.tensors
