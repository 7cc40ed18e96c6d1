"""Packages that pictures need and that surgeon does not: the extra `plots`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from surgeon.errors import NotInstalled

# What people install, by what is imported.
PACKAGES = {"matplotlib": "matplotlib", "PIL": "pillow", "pytorch_grad_cam": "grad-cam"}


def needed(name: str) -> Any:
    """The module `name`, of one of the packages of `plots`.

    Raises:
        NotInstalled: in one line, with what to type.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = PACKAGES[name.partition(".")[0]]
        raise NotInstalled(
            f'{package} can\'t be imported ({error}): pip install "attention-surgeon[plots]" brings what maps need.'
        ) from None
