"""The names that timm keeps for itself and that surgeon uses all the same: all of them, and here alone.

They are looked for when they are wanted: files that ask for ARGUMENTS do not wait for timm.
"""

from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from surgeon.errors import BadVersion, lacking

# Where newer releases note the arguments that a network was built with.
ARGUMENTS = "_model_args"


def features(model: nn.Module, indices: tuple[int, ...]) -> nn.Module:
    """The network that gives the maps after the stages `indices` of `model`, as timm makes it for features_only."""
    try:
        from timm.models._features import FeatureGetterNet
    except ImportError as error:
        raise _lacking(error) from None
    wrapped: nn.Module = FeatureGetterNet(model, indices)
    return wrapped


def write_config(model: nn.Module, path: Path) -> None:
    """The config.json of a network of timm's, as timm writes it."""
    try:
        from timm.models._hub import save_config_for_hf
    except ImportError as error:
        raise _lacking(error) from None
    # Newer releases say that it is a text, and take a Path as the older ones do.
    target: Any = path
    save_config_for_hf(model, target)


@cache
def opens_folders() -> bool:
    """Whether timm knows the names `local-dir:FOLDER`, which came with 1.0.16."""
    try:
        from timm.models._factory import parse_model_name
    except ImportError as error:
        raise _lacking(error) from None
    try:
        parse_model_name("local-dir:folder")
    except AssertionError:
        return False
    return True


def _lacking(error: ImportError) -> BadVersion:
    import timm

    return lacking("timm", timm.__version__, str(error))
