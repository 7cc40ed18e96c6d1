"""What can be known of a network or a name without building it: which call might have made it, how many classes."""

from dataclasses import replace
from inspect import signature

import timm
import torchvision
from torch import nn

from surgeon.errors import BadModel
from surgeon.networks.blueprint import CODE, Arguments, Base
from surgeon.networks.download import published
from surgeon.networks.equal import is_plain
from surgeon.networks.library import LOADING, names
from surgeon.outside.timm import ARGUMENTS


def written_on(model: nn.Module) -> Base | None:
    """The Base that timm itself noted on `model`, with those constructor arguments that JSON can hold; else None."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    name = config.get("architecture") if isinstance(config, dict) else getattr(config, "architecture", None)
    if name not in names("timm"):
        return None
    noted = getattr(model, ARGUMENTS, {})
    return Base("timm", name, {key: value for key, value in noted.items() if is_plain(value) and key not in LOADING})


def is_detector(base: Base) -> bool:
    """Whether this is one of torchvision's detection networks, whose norms are frozen once they are pretrained."""
    return base.library == "torchvision" and ".detection." in torchvision.models.get_model_builder(base.name).__module__


def classes_by_default(base: Base) -> int | None:
    """Number of classes where nobody asks for another; None for somebody's own code."""
    if base.library == CODE:
        return None
    if base.library == "timm":
        return getattr(published(base.name), "num_classes", None) or 1000
    module = torchvision.models.get_model_builder(base.name).__module__
    if module.endswith("keypoint_rcnn"):
        return 2
    for part, classes in (("segmentation", 21), ("detection", 91), ("video", 400)):
        if f".{part}." in module:
            return classes
    return 1000


def same_class(model: nn.Module) -> list[Base]:
    """Networks that might have made `model`, likeliest first: builders that live where its class does, then near it.

    Raises:
        BadModel: its class comes from neither library.
    """
    for kind in type(model).__mro__:
        module = kind.__module__
        if module.startswith("timm.models."):
            return [Base("timm", name) for name in timm.list_models(module=module.rpartition(".")[2])]
        if module.startswith("torchvision.models."):
            guesses = [Base("torchvision", name) for name in _near(module)]
            noted = _noted(model)
            return guesses + [replace(base, arguments=noted) for base in guesses if noted]
    raise BadModel(
        f"{type(model).__name__} is neither torchvision's nor timm's, so a file can't say how to build it. "
        "Name what makes it, and another process can: base='package.module:function'."
    )


def _noted(model: nn.Module) -> Arguments:
    """Arguments that torchvision keeps on the network under their own names, and that decide its shapes."""
    parameters = signature(type(model).__init__).parameters
    return {name: vars(model)[name] for name in ("image_size",) if name in parameters and name in vars(model)}


def _near(module: str) -> list[str]:
    """torchvision's networks by distance from `module`: SSDLite is built beside the class it is made of."""
    homes = {name: torchvision.models.get_model_builder(name).__module__ for name in names("torchvision")}
    package = module.rpartition(".")[0]
    here = [name for name, home in homes.items() if home == module]
    beside = [name for name, home in homes.items() if home.rpartition(".")[0] == package and name not in here]
    return here + beside
