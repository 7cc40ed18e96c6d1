"""From a name and options to a gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import INITS, Gate, Init
from surgeon.attention.naming import Attention, Factory, factory_of, is_gate, name_of, options_of, spec_of
from surgeon.attention.options import choice, reason, whole
from surgeon.errors import BadModule, BadOption, SurgeonError, suggest


def build(
    attention: Attention, channels: int, *, init: str = "identity", dims: int = 2, instead: bool = False, **options: Any
) -> Gate:
    """A gate for maps of `channels` channels and `dims` spatial axes.

    Args:
        attention: a name, such as `cbam`, `timm:gc` or a registered one; `package.module:Class`; or a class or
            callable that makes a module from the number of channels.
        init: identity, where the gate passes its input on bit for bit until it is trained; neutral, where it does so
            too, by last layers at zero instead of a gamma; eager, as neutral with steeper scores; paper, the
            published module and its initialisation.
        instead: the gate takes the place of a module: with init="eager" or "identity" it is the published one, and its
            share 0.
        options: what the attention itself takes; `options_of(attention)` lists them.

    Raises:
        UnknownName: no such attention. BadOption: no such option, or not with this value.
        BadModule: what the callable made is no module, or it failed.

    >>> build("cbam", 64, reduction=8).made["options"]
    {'reduction': 8}
    """
    factory, start = factory_of(attention), _start(init, instead=instead)
    check_names(attention, options)
    if is_gate(factory):
        gate = factory(channels, init=start, dims=dims, **options)
    else:
        whole("channels", channels)
        module = _module(factory, attention, channels, options)
        gate = module if isinstance(module, Gate) else Foreign(module, channels, init=start, dims=dims)
    if instead and init != "paper":
        gate.share = nn.Parameter(torch.zeros(1))
    gate.made = {
        "attention": spec_of(attention),
        "channels": channels,
        "dims": dims,
        "init": init,
        "instead": instead,
        "options": options,
    }
    return gate


def _start(init: str, *, instead: bool) -> Init:
    start = choice("init", init, INITS)
    if instead and start == "neutral":
        raise BadOption("init='neutral' starts as no attention at all, and not as what it replaces: give 'identity'.")
    return "paper" if instead else start


def check_names(attention: Attention, options: Iterable[str]) -> None:
    """Refuse an option that `attention` does not take."""
    known = options_of(attention)
    if known is None:
        return
    for name in options:
        if name not in known:
            raise BadOption(f"{name_of(attention)} has no option {name!r}. {suggest(name, known)}")


def _module(factory: Factory, attention: Attention, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """What `factory` makes; what it raises is told in one line."""
    try:
        return factory(channels, **options)
    except SurgeonError:
        raise
    except Exception as error:
        name = attention if isinstance(attention, str) else name_of(attention)
        raise BadModule(f"{name} could not be made for {channels} channels: {reason(error)}") from error
