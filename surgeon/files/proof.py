"""Proof that a file is what it says: rebuilt, every hash computed again, outputs compared with the base's."""

from dataclasses import dataclass

from surgeon import networks
from surgeon.attention import attention_modules, disabled
from surgeon.checkpoints import digest
from surgeon.errors import BadFile, BadInput, CheckFailed
from surgeon.files import intake, store
from surgeon.networks.blueprint import PROGRAM
from surgeon.networks.recognise import completed
from surgeon.networks.samples import small
from surgeon.networks.settings import settle
from surgeon.networks.weights import load_weights
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits


@dataclass(frozen=True)
class Proof:
    """What was found out about a file.

    tensors: how many agree with their SHA-256.
    same_base: whether the network without its attention gives the base's output, bit for bit; None if it runs on no image that surgeon knows.
    is_identity: whether the attention still lets everything pass bit for bit.
    distance: how far the attention moves the output, at most.
    """

    tensors: int
    same_base: bool | None
    is_identity: bool | None
    distance: float | None


def verify(file, base=None, *, allow_pickle=False, allow_imports=False, progress=None):
    """Rebuild a file of surgeon's and compare it with its own hashes, and with its base.

    Args:
        base: a checkpoint of the base; without one, the base's weights in the file itself are used.

    Raises:
        BadFile: a hash that does not agree. CheckFailed: without attention it is not the base.
    """
    opened = intake.open_surgeon_file(file, allow_pickle=allow_pickle)
    if opened.recipe.base.library == PROGRAM:
        digest.compare(opened.tensors, opened.recipe.tensors, str(file), progress=progress)
        return Proof(len(opened.recipe.tensors), None, None, None)
    model = store.restore(opened.recipe, opened.tensors, str(file), allow_imports=allow_imports, progress=progress)
    stock = _base(opened.recipe, base, allow_pickle) if base else _stock(opened)
    if base:
        digest.compare(dict(stock.state_dict()), opened.recipe.stock, f"{base} is not the base of {file}")
    try:
        image = small(stock)
    except BadInput:
        return Proof(len(opened.recipe.tensors), None, None, None)
    with disabled(model):
        without = outputs(model, (image,))
    expected, with_attention = outputs(stock, (image,)), outputs(model, (image,))
    if not same_bits(expected, without):
        raise CheckFailed(f"{file}: without its attention the network is not {opened.recipe.base}: outputs differ by up to "
                          f"{max_abs_diff(expected, without):.3g}.")
    return Proof(len(opened.recipe.tensors), True, same_bits(expected, with_attention), max_abs_diff(expected, with_attention))


def _stock(opened):
    model = networks.build(opened.recipe.base, empty=True)
    return load_weights(model, completed(model, store.stock(opened.recipe, opened.tensors)))


def _base(made, base, allow_pickle):
    loaded = intake.open_source(base, arch=None if intake.is_name(base) else str(made.base), pretrained=intake.is_name(base),
                        arguments=made.base.arguments, allow_pickle=allow_pickle)
    if attention_modules(loaded.model):
        raise BadFile(f"{base} has attention itself: give the plain checkpoint.")
    return settle(loaded.model, made.base.settings)
