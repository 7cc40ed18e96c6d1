"""What a user types after --example: words for tensors, or a file that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from surgeon.checkpoints.checkpoint import first_line
from surgeon.errors import BadFile
from surgeon.trace.examples import Form, parse
from surgeon.trace.inputs import Arguments, given

ENDINGS = (".pt", ".pth", ".npz", ".npy", ".safetensors")


def read_example(text: str | None) -> Form | Arguments | None:
    """The example that a text such as `1x3x64x64` describes, or that lies in the file of that name.

    In a .npz and a .safetensors, `arr_0` and `0` are the first positional argument; other names are keywords.

    Raises:
        BadOption: no such text. BadFile: the file can't be read, or holds more than tensors, numbers and texts.
    """
    if text is None:
        return None
    if not text.endswith(ENDINGS):
        return parse(text, "--example")
    try:
        return given(_held(text), None)
    # A damaged file can fail in any of the libraries that read it.
    except Exception as error:
        raise BadFile(f"--example {text}: {first_line(error)}.") from error


def _held(path: str | PathLike[str]) -> Any:
    """What a file holds; no code in it is run."""
    ending = Path(path).suffix
    if ending == ".safetensors":
        return _by_name(safetensors.torch.load_file(path))
    if ending in (".pt", ".pth"):
        return torch.load(path, map_location="cpu", weights_only=True)
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return torch.from_numpy(held)
    with held:
        return _by_name({name: torch.from_numpy(held[name]) for name in held.files})


def _by_name(tensors: Mapping[str, torch.Tensor]) -> Arguments:
    """Tensors under names as arguments: numbered ones by their place."""
    numbers = {name: name.removeprefix("arr_") for name in tensors}
    positional = sorted((name for name in tensors if numbers[name].isdigit()), key=lambda name: int(numbers[name]))
    keywords = {name: tensor for name, tensor in tensors.items() if name not in positional}
    return Arguments(tuple(tensors[name] for name in positional), keywords)
