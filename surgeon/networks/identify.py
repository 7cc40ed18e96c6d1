"""Which library call gives exactly these tensors: the name a file needs to be built again.

Shapes are a fingerprint: a network is taken for `torchvision:resnet50` with ten classes only where
its keys and shapes are that network's, each one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from surgeon.attention import attention_modules
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.networks import catalogue, library
from surgeon.networks.blueprint import CODE, Arguments, Base
from surgeon.networks.channels import found_in
from surgeon.networks.settings import NAME_IT, changed
from surgeon.networks.weights import shapes_of
from surgeon.trace import inputs

# Key of a state dict -> shape.
Shapes = Mapping[str, tuple[int, ...]]


class Fit(NamedTuple):
    """A network of a library's that has exactly somebody's tensors: what it is, and one of it with weights unfilled."""

    base: Base
    stock: nn.Module


def first_difference(expected: Shapes, found: Shapes) -> str | None:
    """The first thing in which two tables of key -> shape differ, in words; None where they are the same.

    >>> first_difference({"fc.weight": (10, 512)}, {"fc.weight": (7, 512)})
    "'fc.weight' should be 10 x 512 and is 7 x 512"
    """
    for key, shape in expected.items():
        if key not in found:
            return f"{key!r} is missing"
        if tuple(found[key]) != tuple(shape):
            return f"{key!r} should be {_text(shape)} and is {_text(found[key])}"
    extra = next((key for key in found if key not in expected), None)
    return None if extra is None else f"{extra!r} is not part of it"


def _text(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def fit(base: Base, shapes: Shapes) -> Base:
    """`base`, its arguments chosen so that its network has exactly the tensors in `shapes`.

    Number of classes, channels of the image, auxiliary heads and frozen norms are read from the keys; nothing else is
    guessed.

    Raises:
        BadFile: no choice of these fits; names the first difference.
    """
    return _fitted(base, shapes).base


def _fitted(base: Base, shapes: Shapes) -> Fit:
    misses = []
    for arguments in _variants(base, shapes):
        stock = library.build(base, arguments=arguments, empty=True)
        channels = _channels(base, stock, shapes)
        if channels:
            arguments = arguments | channels
            stock = library.build(base, arguments=arguments, empty=True)
        classes = _classes(base, shapes_of(stock), shapes)
        if classes is not None:
            arguments = arguments | {"num_classes": classes}
            stock = library.build(base, arguments=arguments, empty=True)
        own = shapes_of(stock)
        difference = first_difference(own, shapes)
        if difference is None:
            return Fit(replace(base, arguments=base.arguments | arguments), stock)
        misses.append(f"{base} has {len(own)} tensors, these are {len(shapes)}: first difference: {difference}.")
    raise BadFile(misses[0])


def _variants(base: Base, shapes: Shapes) -> Iterator[Arguments]:
    """Arguments worth a try besides the library's defaults, judged by the keys that are there."""
    yield {}
    if base.library == "torchvision":
        keys = " ".join(shapes)
        if "aux_classifier." in keys:
            yield {"aux_loss": True}
        if base.name.endswith(("googlenet", "inception_v3")) and "AuxLogits" not in keys and "aux1" not in keys:
            yield {"aux_logits": False}
        if "num_batches_tracked" not in keys and catalogue.is_detector(base):
            yield {library.FROZEN: 1e-5}
    if base.library == "timm":
        # As `reset_classifier(0)` leaves a network.
        yield {"num_classes": 0}


def _channels(base: Base, stock: nn.Module, shapes: Shapes) -> Arguments:
    """The arguments for another number of channels of the image, where such a number explains what differs."""
    found = found_in(stock, shapes)
    if not found or base.library not in ("timm", "torchvision"):
        return {}
    return {library.INPUT: found} if base.library == "torchvision" else {"in_chans": next(iter(found.values()))}


def _classes(base: Base, own: Shapes, shapes: Shapes) -> int | None:
    """The number of classes that explains every shape which differs; None if none differs or none explains it.

    A detector's heads are multiples of it (boxes, anchors), so the ratio counts and not the size.
    """
    default = base.arguments.get("num_classes") or catalogue.classes_by_default(base)
    if default is None:
        return None
    differing = [key for key in own if own[key] and key in shapes and own[key] != tuple(shapes[key])]
    if not all(shapes[key] for key in differing):
        return None
    explanations = {shapes[key][0] * default / own[key][0] for key in differing}
    if len(explanations) != 1:
        return None
    classes = explanations.pop()
    return int(classes) if classes.is_integer() and classes >= 1 else None


def infer(model: nn.Module, base: str | None = None, *, example: inputs.Arguments | None = None) -> Base:
    """The Base of a network that somebody built, by what it remembers, what timm wrote on it, or what its shapes say.

    Args:
        base: `torchvision:NAME`, `timm:NAME` or `package.module:function`; None where the network can be recognised.
        example: what the network runs on; None where surgeon has to guess.

    Raises:
        BadModel: no library network fits, or one that was changed in ways that a file can't hold.
        BadFile: it is not that of `base`.
    """
    shapes = stock_shapes(model)
    if base is not None:
        return _with_settings(_fitted(library.parse(base), shapes), model, example)
    for guess in _guesses(model):
        try:
            fitted = _fitted(guess, shapes)
        except (BadFile, BadOption):
            continue
        # Keys and shapes decide. What is set otherwise was changed on this network; no other one need be looked for.
        return _with_settings(fitted, model, example)
    raise BadModel(
        f"{type(model).__name__} with {len(shapes)} tensors is no network of torchvision's or timm's as they build it. "
        "Name it: base='torchvision:NAME', 'timm:NAME', or what makes it: 'package.module:function'."
    )


def _guesses(model: nn.Module) -> Iterator[Base]:
    known = library.remembered(model)
    if known is not None:
        # Its settings are read anew: they may have changed since.
        yield replace(known, settings={})
    written = catalogue.written_on(model)
    if written is not None:
        yield written
    yield from catalogue.same_class(model)


def _with_settings(fitted: Fit, model: nn.Module, example: inputs.Arguments | None) -> Base:
    """The Base that was fitted, with the settings of `model` that leave no trace in its weights."""
    base = fitted.base
    advice = f"Set it where {base} is made, so that what a file builds has it too." if base.library == CODE else NAME_IT
    return replace(base, settings=changed(model, fitted.stock, example=example, advice=advice))


def stock_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key -> shape of all that `model` had before surgeon came: its state dict less the attention."""
    gates = tuple(f"{path}." for path in attention_modules(model))
    return {key: shape for key, shape in shapes_of(model).items() if not key.startswith(gates)}
