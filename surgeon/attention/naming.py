"""From what a user writes to what makes a gate: a name, an import path, a class or any callable."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from inspect import Parameter, isclass, signature
from keyword import iskeyword
from typing import Any, TypeGuard

from torch import nn

from surgeon.attention.gate import Gate
from surgeon.attention.table import TABLE
from surgeon.errors import BadModule, BadOption, BadVersion, UnknownName, suggest

# What makes a module from the number of channels, and options as it has them.
Factory = Callable[..., nn.Module]
# A name, an import path, or the factory itself.
Attention = str | Factory

# timm keeps these names in the branches of one function and lists them nowhere.
_TIMM = "se ese eca ecam ceca ge gc gca cbam lcbam coord scoord ela strip sk splat lambda bottleneck halo nl bat"
TIMM = tuple(f"timm:{name}" for name in _TIMM.split())
_registered: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Make `factory`, a callable `channels -> Module`, known as `name` to Python and the command.

    The same name again replaces it; a name of surgeon's own is refused.
    """
    if not name.isidentifier() or name in TABLE:
        taken = "is surgeon's own" if name in TABLE else "can't be the name of a child module"
        raise BadOption(f"can't register {name!r}: it {taken}.")
    if not callable(factory):
        raise BadModule(f"can't register {name!r}: {factory!r} can't be called as `factory(channels)`.")
    _registered[name] = factory


def factory_of(attention: Attention) -> Factory:
    """The class or callable that `attention` stands for.

    >>> factory_of("cbam").__name__
    'CBAM'
    """
    if not isinstance(attention, str):
        return _factory(attention, repr(attention))
    if attention in TABLE or attention in _registered:
        return TABLE.get(attention) or _registered[attention]
    if attention.startswith("timm:"):
        return _timm_factory(attention)
    if ":" in attention:
        return _factory(_imported(attention), attention)
    known = [*TABLE, *_registered, *TIMM]
    others = "Or package.module:Class, or one made known by surgeon.register."
    raise UnknownName(f"unknown attention {attention!r}. {suggest(attention, known)} {others}")


def _timm_factory(name: str) -> Factory:
    """timm's class for `timm:NAME`, whatever names the installed release has."""
    from timm.layers.create_attn import get_attn

    try:
        factory: Factory | None = get_attn(name.removeprefix("timm:"))
    except AssertionError:
        factory = None
    if factory is None:
        if name in TIMM:
            import timm

            raise BadVersion(
                f"timm {timm.__version__} has no attention {name!r}: pip install -U timm, or take another."
            )
        raise UnknownName(f"unknown attention {name!r}. {suggest(name, TIMM)}")
    return factory


def name_of(attention: Attention) -> str:
    """What the child is called in the network: `cbam`; `gc` for `timm:gc`; a class's own name, lower case."""
    if isinstance(attention, str):
        name = attention.rpartition(":")[2]
    else:
        name = getattr(attention, "__name__", type(attention).__name__)
    name = re.sub(r"\W", "_", name.rpartition(".")[2].lower()).strip("_")
    # A rewritten forward calls the child as `self.<name>(x)`, so it can't be a word of Python's.
    if iskeyword(name):
        return f"{name}_"
    return name if name.isidentifier() else "attention"


def spec_of(attention: Attention) -> str | None:
    """`attention` as text that `build` reads back in another process, or None where there is none.

    A name stays as it is; a class or function at the top level of a module becomes its import path.
    """
    if isinstance(attention, str):
        return attention
    for name, factory in (_registered | TABLE).items():
        if factory is attention:
            return name
    module, path = getattr(attention, "__module__", ""), getattr(attention, "__qualname__", "")
    if not module or not path or "<" in path or module == "__main__":
        return None
    return f"{module}:{path}"


def options_of(attention: Attention) -> dict[str, Any] | None:
    """The options that `attention` takes, with their defaults: `{"reduction": 16, ...}`.

    An option without a default has the value `inspect.Parameter.empty`. None where a factory takes any.
    """
    factory = factory_of(attention)
    try:
        parameters = list(signature(factory).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    # Those that surgeon sets itself.
    own = {"init", "dims"} if is_gate(factory) else {"device", "dtype"}
    return {parameter.name: parameter.default for parameter in parameters[1:] if parameter.name not in own}


def is_gate(factory: Factory) -> TypeGuard[Callable[..., Gate]]:
    """Whether `factory` is one of surgeon's own gates, or made as they are."""
    return isclass(factory) and issubclass(factory, Gate)


def _factory(value: Any, text: str) -> Factory:
    """`value`, which the user wrote as `text`, if it can be a factory."""
    is_module = not isclass(value) and hasattr(value, "state_dict")
    if not callable(value) or is_module:
        raise BadModule(f"{text} is not a class or a callable `channels -> Module`: it has to make one at each site.")
    return value


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownName(f"can't import {path!r}: {error}. Write package.module:Class.") from None
    return found
