"""The name that torchvision keeps for itself and that surgeon uses all the same."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torchvision


def renaming(name: str) -> Callable[..., Any] | None:
    """How torchvision loads published weights whose keys it has renamed since; None of a network where it has not."""
    home = torchvision.models.get_model_builder(name).__module__
    load: Callable[..., Any] | None = getattr(import_module(home), "_load_state_dict", None)
    return load
