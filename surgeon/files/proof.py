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
    own = intake.open_own(file, allow_pickle=allow_pickle)
    if own.recipe.base.library == PROGRAM:
        digest.compare(own.tensors, own.recipe.tensors, str(file), progress=progress)
        return Proof(len(own.recipe.tensors), None, None, None)
    model = store.restore(own.recipe, own.tensors, str(file), allow_imports=allow_imports, progress=progress)
    stock = _base(own.recipe, base, allow_pickle) if base else _stock(own)
    if base:
        digest.compare(dict(stock.state_dict()), own.recipe.stock, f"{base} is not the base of {file}")
    try:
        image = small(stock)
    except BadInput:
        return Proof(len(own.recipe.tensors), None, None, None)
    with disabled(model):
        without = outputs(model, (image,))
    expected, with_attention = outputs(stock, (image,)), outputs(model, (image,))
    if not same_bits(expected, without):
        raise CheckFailed(f"{file}: without its attention the network is not {own.recipe.base}: outputs differ by up to "
                          f"{max_abs_diff(expected, without):.3g}.")
    return Proof(len(own.recipe.tensors), True, same_bits(expected, with_attention), max_abs_diff(expected, with_attention))


def _stock(own):
    model = networks.build(own.recipe.base, empty=True)
    return load_weights(model, completed(model, store.stock(own.recipe, own.tensors)))


def _base(made, base, allow_pickle):
    taken = intake.take(base, arch=None if intake.is_name(base) else str(made.base), pretrained=intake.is_name(base),
                        arguments=made.base.arguments, allow_pickle=allow_pickle)
    if attention_modules(taken.model):
        raise BadFile(f"{base} has attention itself: give the plain checkpoint.")
    return settle(taken.model, made.base.settings)
