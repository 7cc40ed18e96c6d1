"""timm's model folders (`config.json` and weights), as they come and as surgeon writes them."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import timm
from timm.models import load_pretrained
from torch import nn

from surgeon import networks
from surgeon.checkpoints.checkpoint import Checkpoint, first_line, read
from surgeon.errors import BadFile, BadOption
from surgeon.files import rebuild
from surgeon.files import recipe as recipes
from surgeon.networks.blueprint import Base
from surgeon.outside import timm as timms_own

# The function in entry.py that timm calls for such a folder.
NAME = "surgeon_network"
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
# What timm notes about where its own weights came from, and the name of the network, which are others now.
ORIGIN = ("url", "file", "hf_hub_id", "source", "state_dict", "architecture", "tag")
# Arguments of timm's `create_model` that are about files, not about the network.
ABOUT_FILES = ("pretrained_cfg_overlay", "cache_dir", "pretrained_model_args")


def read_folder(path: str | PathLike[str], *, ema: bool = False) -> tuple[Checkpoint, Base | None]:
    """(Checkpoint, base): the weights of a model folder, and the network that its config.json names.

    The base is None where surgeon wrote the folder: the recipe says more.

    Raises:
        BadFile: no config.json, one that means nothing, or no weights.
    """
    path = Path(path)
    settings, name, arguments = _read_config(path)
    found = _weights(path, ema)
    if found.recipe is not None or name == NAME:
        return found, None
    if not isinstance(name, str) or name not in networks.names("timm"):
        raise BadFile(f"{path / 'config.json'} is for {name!r}, which this timm ({timm.__version__}) does not have.")
    classes = settings.get("num_classes")
    return found, Base("timm", name, ({"num_classes": classes} if classes else {}) | dict(arguments or {}))


def _read_config(path: Path) -> tuple[Any, Any, Any]:
    """timm's (settings of the weights, name of the network, arguments of its constructor): whatever the JSON holds."""
    try:
        data = json.loads((path / "config.json").read_text(encoding="utf-8"))
        # Earlier timm wrote the settings of the weights beside the name, and not below it.
        settings = dict(data.get("pretrained_cfg", data))
        settings["num_classes"] = data.get("num_classes", settings.get("num_classes"))
        return settings, data["architecture"], data.get("model_args", {})
    except FileNotFoundError:
        raise BadFile(f"{path} is a folder without a config.json.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        text = f"{type(error).__name__}: {first_line(error)}"
        raise BadFile(f"{path / 'config.json'} is no model's: {text}.") from error


def _weights(path: Path, ema: bool) -> Checkpoint:
    for file in WEIGHTS:
        if (path / file).is_file():
            found = read(path / file, ema=ema)
            # Only a file that is read with allow_pickle gives a module.
            assert isinstance(found, Checkpoint)
            return found
    raise BadFile(f"{path} holds no weights: neither model.safetensors nor pytorch_model.bin.")


def write_config(model: nn.Module, text: str, path: Path) -> None:
    """The config.json that lets timm open the folder, the recipe in it as the arguments of the network."""
    settings = {key: value for key, value in _settings(model).items() if value is not None}
    data = {
        "architecture": NAME,
        "num_classes": settings.get("num_classes", 1000),
        "pretrained_cfg": settings,
        "model_args": {"recipe": json.loads(text)},
    }
    path.write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")


def write_stock_config(base: Base, path: Path) -> None:
    """timm's own config.json for a base of timm's.

    Raises:
        BadOption: the base is not timm's, or was changed in ways that timm has no arguments for.
    """
    if base.library != "timm" or base.settings:
        why = "has settings of its own" if base.library == "timm" else "is not timm's"
        raise BadOption(f"a model folder is timm's format, and {base} {why}. Write a .pth or a .safetensors.")
    timms_own.write_config(networks.build(base, empty=True), path)


def _settings(model: nn.Module) -> dict[str, Any]:
    """What timm wants to know of a network: image size, mean, name of the head."""
    known = dict(getattr(model, "pretrained_cfg", None) or {})
    own = {key: value for key, value in known.items() if key not in ORIGIN}
    heads = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    classifier = next(reversed(heads), None)
    size = heads[classifier].out_features if classifier is not None else 1000
    classes = getattr(model, "num_classes", None) or size
    return {"input_size": [3, 224, 224], "classifier": classifier} | own | {"num_classes": classes}


def open_network(recipe: Mapping[str, Any], pretrained: bool, settings: Any, arguments: Mapping[str, Any]) -> nn.Module:
    """The network of a folder that surgeon wrote, as timm asks for it.

    Args:
        recipe: JSON values, as they lie in config.json. settings: timm's `pretrained_cfg`.
        arguments: what else timm's `create_model` hands on.
    """
    parsed = recipes.from_text(json.dumps(recipe), "config.json")
    options = {key: value for key, value in arguments.items() if key not in ABOUT_FILES}
    only_features, indices = options.pop("features_only", False), options.pop("out_indices", None)
    if options.pop("feature_cls", "getter") != "getter":
        raise BadOption("the features of a folder that surgeon wrote come by feature_cls='getter': leave it out.")
    # Another head, another stem: the folder has no weights for it.
    model = rebuild.rebuild(parsed, arguments=options, empty=pretrained and not options)
    settings = settings if isinstance(settings, dict) else {}
    model.pretrained_cfg = model.default_cfg = settings
    if pretrained:
        classes = options.get("num_classes", settings.get("num_classes"))
        load_pretrained(model, _with_weights(settings), num_classes=classes, in_chans=options.get("in_chans", 3))
    return _features(model, indices) if only_features else model


def _with_weights(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the weights of their folder in them: before 1.0.26 timm reads no .safetensors that lies there."""
    if settings.get("source") != "local-dir":
        return settings
    return {**settings, "source": "", "state_dict": dict(_weights(Path(settings["file"]), False).tensors)}


def _features(model: nn.Module, indices: Any) -> nn.Module:
    """The maps of `model` after its stages, attention in them, as timm's `features_only=True` asks for."""
    if not hasattr(model, "forward_intermediates"):
        raise BadOption(f"this {type(model).__name__} has no features by themselves: timm gives it none.")
    stages: Any = model.feature_info
    return timms_own.features(model, tuple(range(len(stages))) if indices is None else tuple(indices))
