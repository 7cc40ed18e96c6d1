"""Where networks come from: torchvision's and timm's builders, by name.

Only this room imports those libraries (and timm's folders and attention, where they are read), and only here are their
habits known: how a builder is told to load no weights, how many classes it makes where nobody says.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

import timm
import torchvision
from torch import nn

from surgeon.errors import BadOption, UnknownName, suggest
from surgeon.networks import code, download
from surgeon.networks.blueprint import CODE, Arguments, Base
from surgeon.networks.channels import with_channels
from surgeon.networks.code import LIBRARIES, names_code
from surgeon.networks.onboard import SAMPLE, SAMPLES, fill, is_sample
from surgeon.networks.settings import settle
from surgeon.networks.skip_init import skip_init
from surgeon.outside.process import quiet
from surgeon.outside.torch import child_table

# An argument of surgeon's own: the epsilon of a detector's frozen norms.
FROZEN = "frozen_norms"
# Another one: {path of a convolution that reads the image: its number of channels}. timm has `in_chans` for it.
INPUT = "input_channels"
# Arguments with which the libraries' builders read files or download.
LOADING = frozenset(
    "checkpoint_path pretrained pretrained_cfg pretrained_cfg_overlay cache_dir weights weights_backbone".split()
)
# Where classes may come from that a constructor argument names: the libraries themselves.
NAMEABLE = ("torch.nn.", "torchvision.ops.", "timm.layers.")
# What builders raise on arguments that they do not take.
REFUSALS = (TypeError, ValueError, AttributeError, AssertionError, KeyError, ImportError, RuntimeError)


@cache
def names(library: str) -> tuple[str, ...]:
    """Every network that `library` (one of LIBRARIES) can build, sorted."""
    if library == SAMPLE:
        return tuple(SAMPLES)
    if library == "timm":
        return tuple(timm.list_models())
    # RAFT takes two images: there is no one feature map to speak of.
    return tuple(name for name in torchvision.models.list_models() if not name.startswith("raft"))


def parse(text: str, **arguments: Any) -> Base:
    """The Base that `text` names: a library's network, or `package.module:Class`.

    Raises:
        UnknownName: no such library or network; says the nearest ones.

    >>> parse("torchvision:resnet50", num_classes=10)
    Base(library='torchvision', name='resnet50', arguments={'num_classes': 10}, settings={})
    """
    if names_code(text):
        return Base(CODE, text, arguments)
    library, colon, name = text.partition(":")
    if not colon or library not in LIBRARIES:
        raise UnknownName(f"{text!r} names no library. Write torchvision:NAME or timm:NAME, such as {_example(text)}.")
    plain = name.partition(".")[0] if library == "timm" else name
    if plain not in names(library):
        near = suggest(plain, names(library)).partition(" Known:")[0]
        hint = near if near.startswith("Did") else f"{len(names(library))} names: surgeon places --list {library}."
        raise UnknownName(f"{library} has no network {name!r}. {hint}")
    known = SAMPLES[name].base if library == SAMPLE else Base(library, name)
    return replace(known, arguments=known.arguments | arguments)


def _example(name: str) -> str:
    """The networks called `name`, with their library in front; else a network that everyone knows."""
    known = [f"{library}:{name}" for library in LIBRARIES if name in names(library)]
    return " or ".join(known or ["torchvision:resnet50"])


def build(
    base: Base | str,
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
    arguments: Arguments | None = None,
    empty: bool = False,
) -> nn.Module:
    """The network that `base` (a Base, or text such as `timm:convnext_tiny`) names, in evaluation mode.

    Args:
        pretrained: weights of the library's own, downloaded where they are not yet at hand; those of a sample are.
        num_classes: size of the head; None leaves it to the library.
        arguments: more arguments for the constructor, JSON values.
        empty: weights are left as memory happened to be, for a network that is loaded next. Somebody's own code fills
            them all the same.

    Raises:
        BadOption: the constructor refuses the arguments, or there are no pretrained weights.
    """
    if isinstance(base, str) and is_sample(base):
        model = build(parse(base), num_classes=num_classes, arguments=arguments, empty=empty or pretrained)
        return fill(model, base) if pretrained else model
    base = parse(base) if isinstance(base, str) else base
    _check(base)
    wanted = base.arguments | (arguments or {})
    if num_classes is not None:
        wanted["num_classes"] = num_classes
    for name in wanted:
        if name in LOADING and wanted[name] is not None:
            raise BadOption(
                f"{base}: {name} loads weights, and is no argument to build with. "
                "Give a file with --weights, or --pretrained."
            )
    with quiet(), skip_init(empty and base.library != CODE):
        model = _call(base, wanted, pretrained)
    settle(model, base.settings)
    return remember(model.eval(), replace(base, arguments=_without_pretrained(base, model, wanted, pretrained)))


def _check(base: Base) -> None:
    """Anyone may have written a recipe: nothing is looked up in it but what `parse` takes."""
    if base.library not in BUILDERS or str(parse(str(base))) != str(base):
        raise UnknownName(f"{base} names no network of a library's.")


def _call(base: Base, arguments: Arguments, pretrained: bool) -> nn.Module:
    """The library's builder, called; whatever it raises comes back in one line."""
    try:
        return BUILDERS[base.library](base.name, pretrained, {key: _named(value) for key, value in arguments.items()})
    except REFUSALS as error:
        values = ", ".join(f"{key}={value}" for key, value in arguments.items()) or "no arguments"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadOption(f"{base} can't be built with {values}: {reason}.") from error
    except OSError as error:
        raise download.failed(base, error) from error


def _timm(name: str, pretrained: bool, arguments: Arguments) -> nn.Module:
    if pretrained:
        download.reach(Base("timm", name))
    return timm.create_model(name, pretrained=pretrained, **arguments)


def _torchvision(name: str, pretrained: bool, arguments: Arguments) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options = dict(arguments)
    frozen, channels = options.pop(FROZEN, None), options.pop(INPUT, None)
    if not pretrained and any(part in builder.__module__ for part in (".detection.", ".segmentation.")):
        options.setdefault("weights_backbone", None)
    # Their slow truncated-normal start is announced as deprecated, and its absence as well.
    if not pretrained and builder.__module__.endswith((".googlenet", ".inception")):
        options.setdefault("init_weights", False)
    model = builder(weights="DEFAULT" if pretrained else None, **options)
    if not pretrained and frozen is not None:
        _freeze(model, frozen)
    return with_channels(model, dict(channels or {}))


def _code(name: str, pretrained: bool, arguments: Arguments) -> nn.Module:
    if pretrained:
        raise BadOption(f"{name} is your own: surgeon knows no pretrained weights of it. Give a file with --weights.")
    return code.build(name, arguments)


BUILDERS: dict[str, Callable[[str, bool, Arguments], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    CODE: _code,
}


def _freeze(model: nn.Module, eps: float) -> nn.Module:
    """A detector with frozen norms, which torchvision makes for pretrained weights only; no argument asks for them."""
    for module in model.get_submodule("backbone").modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                child_table(module)[name] = torchvision.ops.FrozenBatchNorm2d(child.num_features, eps=float(eps))
    return model


def frozen_eps(model: nn.Module) -> float | None:
    """The epsilon of a network's frozen norms; None where it has none."""
    frozen = torchvision.ops.FrozenBatchNorm2d
    return next((module.eps for module in model.modules() if isinstance(module, frozen)), None)


def _named(value: Any) -> Any:
    """A string such as `torchvision.ops.FrozenBatchNorm2d` as the class that it names; anything else as it is."""
    if not (isinstance(value, str) and value.startswith(NAMEABLE)):
        return value
    module, _, name = value.rpartition(".")
    return getattr(import_module(module), name)


def _without_pretrained(base: Base, model: nn.Module, arguments: Arguments, pretrained: bool) -> Arguments:
    """The arguments with which the same network is built again without its pretrained weights."""
    if not pretrained or base.library != "torchvision":
        return arguments
    # What torchvision decides on its own once it is asked for weights.
    decided: Arguments = {}
    if getattr(model, "transform_input", False):
        decided["transform_input"] = True
    if frozen_eps(model) is not None:
        decided[FROZEN] = frozen_eps(model)
    if getattr(model, "aux_classifier", None) is not None:
        decided["aux_loss"] = True
    return arguments | decided


def remember(model: nn.Module, base: Base) -> nn.Module:
    """Note on `model` what it was built from; returns it."""
    model.__dict__["_built_from"] = base
    return model


def remembered(model: object) -> Base | None:
    """The Base that `model` was built from, if surgeon built it; else None."""
    return model.__dict__.get("_built_from") if isinstance(model, nn.Module) else None


def versions() -> dict[str, str]:
    """Versions of the two libraries."""
    return {"torchvision": torchvision.__version__, "timm": timm.__version__}
