"""Proof that a file is what it says: rebuilt, every hash computed again, outputs compared with the base's."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch import nn

from surgeon import networks
from surgeon.attention import attention_modules, disabled
from surgeon.checkpoints import digest
from surgeon.errors import BadFile, BadInput, BadOption, CheckFailed
from surgeon.files import intake, store
from surgeon.files.loaded import LoadedModel
from surgeon.files.recipe import Recipe
from surgeon.files.store import SurgeonFile
from surgeon.networks.blueprint import PROGRAM
from surgeon.networks.recognise import completed
from surgeon.networks.samples import answered
from surgeon.networks.settings import settle
from surgeon.networks.weights import load_weights
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import resolved
from surgeon.trace.outputs import max_abs_diff, same_bits


@dataclass(frozen=True)
class Proof:
    """What was found out about a file; None where the network runs on no image that surgeon knows.

    tensors: how many agree with their SHA-256.
    same_base: whether the network without its attention gives the base's output, bit for bit.
    is_identity: whether the attention still lets everything pass bit for bit.
    distance: how far the attention moves the output, at most.
    """

    tensors: int
    same_base: bool | None = None
    is_identity: bool | None = None
    distance: float | None = None


def verify(
    file: str | PathLike[str],
    base: str | PathLike[str] | None = None,
    *,
    allow_pickle: bool = False,
    allow_imports: bool = False,
    example_inputs: Any = None,
    progress: Callable[[int], object] | None = None,
) -> Proof:
    """Rebuild a file of surgeon's and compare it with its own hashes, and with its base.

    Args:
        base: a checkpoint of the base; without one, the base's weights in the file itself are used.
        example_inputs: what to run both on; None for the file's own example, or a small image.

    Raises:
        BadFile: a hash that does not agree. CheckFailed: without attention it is not the base.
    """
    opened = intake.open_surgeon_file(file, allow_pickle=allow_pickle)
    recipe = opened.recipe
    if recipe.base.library == PROGRAM:
        digest.compare(opened.tensors, recipe.tensors, str(file), progress=progress)
        return Proof(len(recipe.tensors))
    model = store.restore(
        recipe, opened.tensors, str(file), allow_imports=allow_imports, example_inputs=example_inputs, progress=progress
    )
    stock = _base_model(base, recipe, allow_pickle) if base else _own_stock(opened)
    if base:
        digest.compare(dict(stock.state_dict()), recipe.stock, f"{base} is not the base of {file}")
    example = resolved(recipe.example if example_inputs is None else example_inputs, model)
    return _compared(model, stock, recipe, str(file), example)


def _compared(model: nn.Module, stock: nn.Module, recipe: Recipe, file: str, example: Arguments | None) -> Proof:
    """What the outputs on the example, or on one small image, prove."""
    try:
        seen, expected = answered(stock, example)
    except BadInput:
        return Proof(len(recipe.tensors))
    with disabled(model):
        without = answered(model, seen).outputs
    with_attention = answered(model, seen).outputs
    if not same_bits(expected, without):
        raise CheckFailed(
            f"{file}: without its attention the network is not {recipe.base}: "
            f"outputs differ by up to {max_abs_diff(expected, without):.3g}."
        )
    is_identity, distance = same_bits(expected, with_attention), max_abs_diff(expected, with_attention)
    return Proof(len(recipe.tensors), True, is_identity, distance)


def _own_stock(opened: SurgeonFile) -> nn.Module:
    """The base with its weights from the file itself."""
    model = networks.build(opened.recipe.base, empty=True)
    return load_weights(model, completed(model, store.stock(opened.recipe, opened.tensors)))


def base_of(base: str | PathLike[str], loaded: LoadedModel, file: str, *, allow_pickle: bool = False) -> nn.Module:
    """The base of a network that was taken in from `file`, as somebody else has it.

    Raises:
        BadOption: it names another network. BadFile: a checkpoint of another, or one with attention.
    """
    if loaded.recipe is None:
        raise BadOption(f"{file} does not say what its base is: it was not written by surgeon.")
    if intake.is_name(base) and str(networks.parse(str(base))) != str(loaded.base):
        raise BadOption(f"{file} is {loaded.base} with attention, not {base}: give that as the base.")
    return _base_model(base, loaded.recipe, allow_pickle)


def _base_model(base: str | PathLike[str], recipe: Recipe, allow_pickle: bool) -> nn.Module:
    """The base as somebody else has it: a checkpoint, or a library's name for its own weights."""
    is_name = intake.is_name(base)
    loaded = intake.open_source(
        base,
        arch=None if is_name else str(recipe.base),
        pretrained=is_name,
        arguments=recipe.base.arguments,
        allow_pickle=allow_pickle,
    )
    if attention_modules(loaded.model):
        raise BadFile(f"{base} has attention itself: give the plain checkpoint.")
    return settle(loaded.model, recipe.base.settings)
