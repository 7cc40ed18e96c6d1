"""Checkpoints under names that are not the network's own, as the library that published them translates them itself."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import timm
from timm.models import clean_state_dict
from torch import Tensor

from surgeon.networks import catalogue
from surgeon.networks.blueprint import Base
from surgeon.outside.process import quiet
from surgeon.outside.torchvision import renaming


def translated(base: Base, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """`tensors` under the keys of the network `base`, as its library loads them; None where it would not take them.

    timm has a filter for most of its families (other people's names, stacked projections, tables of another
    size), torchvision renames what it called otherwise in former versions.
    """
    if base.library == "timm":
        return _timm(base, clean_state_dict(dict(tensors)))
    if base.library == "torchvision":
        return _torchvision(base, clean_state_dict(dict(tensors)))
    return None


def _torchvision(base: Base, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    load = renaming(base.name)
    if load is None:
        return None
    renamed: dict[str, Tensor] = {}

    def downloaded(**options: Any) -> dict[str, Tensor]:
        return dict(tensors)

    # torchvision's helper downloads weights, renames their keys and loads them into a network; stand-ins at both ends
    # leave the renaming.
    weights = SimpleNamespace(get_state_dict=downloaded)
    load(model=SimpleNamespace(load_state_dict=renamed.update), weights=weights, progress=False)
    return renamed


def _timm(base: Base, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    for classes in _classes(base, tensors):
        config = {"state_dict": dict(tensors), "num_classes": classes}
        arguments = base.arguments | {"num_classes": classes}
        try:
            with quiet():
                model = timm.create_model(base.name, pretrained=True, pretrained_cfg_overlay=config, **arguments)
        # A filter that meets keys it does not know may raise anything.
        except Exception:
            continue
        return {key: value.detach() for key, value in model.state_dict().items()}
    return None


def _classes(base: Base, tensors: Mapping[str, Tensor]) -> list[int | None]:
    """Sizes that the head may have: the one asked for, else the published one, then the length of the last vector."""
    if base.arguments.get("num_classes"):
        return [base.arguments["num_classes"]]
    sizes = [catalogue.classes_by_default(base)]
    vectors = [len(value) for value in tensors.values() if value.ndim == 1]
    if vectors and vectors[-1] not in sizes:
        sizes.append(vectors[-1])
    return sizes
