"""The recipe of a network that is at hand, read off the network itself."""

import warnings
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from surgeon.attention import attention_modules, attention_parameters, lost_attention
from surgeon.attention.opened import opened
from surgeon.checkpoints import digest
from surgeon.errors import BadModel, LostAttention
from surgeon.files.recipe import Recipe
from surgeon.networks import identify
from surgeon.networks.blueprint import Base
from surgeon.surgery.operations import operations_of, settings_of, versions
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import dtype_of, form_of, noted, resolved


def recipe_of(
    model: nn.Module,
    *,
    base: Base | str | None = None,
    order: Iterable[str] = (),
    prefix: str = "",
    known: Mapping[str, str] | None = None,
    example: Arguments | None = None,
) -> Recipe:
    """The recipe of a network with attention, read off the network itself.

    Args:
        base: `torchvision:NAME`, `timm:NAME` or `package.module:function`; None where the network can be recognised;
            a Base where it is known since the network was taken in.
        order, prefix: as in Recipe, where it came from a checkpoint.
        known: SHA-256 of tensors that have been hashed already.
        example: what it runs on; None for what is noted on it.

    Raises:
        BadModel: it is no library's network, or its attention has no name that another process could import.
    """
    lost = lost_attention(model)
    if lost:
        gone = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        warnings.warn(f"attention that was put in is gone, and not in the file: {gone}.", LostAttention, stacklevel=4)
    form = noted(model) if example is None else form_of(example, dtype_of(model))
    return Recipe(
        base=base if isinstance(base, Base) else identify.infer(model, base, example=example or resolved(form, model)),
        tensors=_hashes(_tensors(model), known or {}),
        operations=operations_of(model),
        attention=tuple(attention_modules(model)),
        order=tuple(order),
        prefix=prefix,
        versions=versions(),
        settings=settings_of(model),
        example=form,
        opened=opened(model),
        parameters=_parameters(model),
    )


def _parameters(model: nn.Module) -> int:
    """How many weights there are, those of the attention left out."""
    attention = attention_parameters(model)
    return sum(weight.numel() for name, weight in model.named_parameters() if name not in attention)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state dict; one with what a module's `get_extra_state` returns, which need be no tensor, is refused."""
    state = model.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise BadModel(f"{key!r} in the state dict is a {type(value).__name__}, and a file holds tensors only.")
    return state


def _hashes(tensors: Mapping[str, Tensor], known: Mapping[str, str]) -> dict[str, str]:
    """Key -> SHA-256, in the order of `tensors`; only what is not known is computed."""
    computed = digest.of_tensors({key: tensor for key, tensor in tensors.items() if key not in known})
    return {key: known[key] if key in known else computed[key] for key in tensors}
