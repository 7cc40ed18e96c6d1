"""Checkpoints under names that are not the network's own, as the library that published them translates them itself."""

import warnings
from importlib import import_module
from types import SimpleNamespace

import timm
import torchvision
from timm.models import clean_state_dict

from surgeon.networks import catalogue


def translated(base, tensors):
    """`tensors` under the keys of the network `base`, as its library loads them; None where it would not take them.

    timm has a filter for most of its families (other people's names, stacked projections, tables of another
    size), torchvision renames what it called otherwise in former versions.
    """
    translate = {"timm": _timm, "torchvision": _torchvision}.get(base.library)
    return translate and translate(base, clean_state_dict(tensors))


def _torchvision(base, tensors):
    builder = torchvision.models.get_model_builder(base.name)
    load = getattr(import_module(builder.__module__), "_load_state_dict", None)
    if load is None:
        return None
    kept = {}
    # Stand-ins: the helper downloads weights and loads them into a network; what it does in between is of use here.
    load(model=SimpleNamespace(load_state_dict=kept.update), weights=SimpleNamespace(get_state_dict=lambda **options: dict(tensors)), progress=False)
    return kept


def _timm(base, tensors):
    for classes in _classes(base, tensors):
        own = {"state_dict": dict(tensors), "num_classes": classes}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = timm.create_model(base.name, pretrained=True, pretrained_cfg_overlay=own, **base.arguments | {"num_classes": classes})
        # A filter that meets keys it does not know fails in any way.
        except Exception:
            continue
        return {key: value.detach() for key, value in model.state_dict().items()}
    return None


def _classes(base, tensors):
    """Sizes that the head may have: as told, as published, as the last vector says."""
    if base.arguments.get("num_classes"):
        return [base.arguments["num_classes"]]
    vectors = [len(value) for value in tensors.values() if value.ndim == 1]
    return list(dict.fromkeys([catalogue.classes_by_default(base), *vectors[-1:]]))
