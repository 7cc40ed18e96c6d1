"""Networks of other people's libraries, with random weights: one function a library, all of it offline.

A name in benchmarks/clients.yaml stands for one of these functions and its arguments.
"""

import os
from importlib import import_module

# The libraries look for newer versions of themselves, or of weights, unless told not to.
os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def ultralytics(config, kind="DetectionModel", **options):
    """A network of ultralytics from its YAML."""
    return getattr(import_module("ultralytics.nn.tasks"), kind)(config, verbose=False, **options)


def segmentation(kind, encoder="resnet18", **options):
    """A network of segmentation_models_pytorch."""
    library = import_module("segmentation_models_pytorch")
    return getattr(library, kind)(encoder_name=encoder, encoder_weights=None, classes=2, **options)


def transformers(kind, config, **options):
    """A network of transformers from a small configuration; a dict among the options is a configuration of its own."""
    library = import_module("transformers")
    parts = {name: _configuration(library, value) for name, value in options.items()}
    return getattr(library, kind)(getattr(library, config)(**parts))


def _configuration(library, value):
    """`{config: ViTConfig, ...}` as a configuration; anything else as it is."""
    if not isinstance(value, dict) or "config" not in value:
        return value
    options = dict(value)
    return getattr(library, options.pop("config"))(**options)


def monai(kind, **options):
    """A network of MONAI."""
    return getattr(import_module("monai.networks.nets"), kind)(**options)


def open_clip(kind, **options):
    """A network of open_clip, with tiny towers."""
    return getattr(import_module("open_clip"), kind)(**options)


def open_clip_model(name):
    """One of open_clip's configurations by name."""
    return import_module("open_clip").create_model(name, pretrained=None)


def pytorchvideo(module, kind, **options):
    """A network of video clips."""
    return getattr(import_module(f"pytorchvideo.models.{module}"), kind)(**options)


def efficientnet(name, **options):
    """A network of efficientnet_pytorch."""
    return import_module("efficientnet_pytorch").EfficientNet.from_name(name, **options)


def pretrainedmodels(name, **options):
    """A network of pretrainedmodels, without its weights."""
    return import_module("pretrainedmodels").__dict__[name](pretrained=None, **options)


def stranger(kind, block=None, **options):
    """A network of benchmarks/strangers.py."""
    library = import_module("benchmarks.strangers")
    first = [getattr(library, block)] if block else []
    return getattr(library, kind)(*first, **options)
