"""SHA-256 of tensors, so that one changed bit in a file of gigabytes has a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

from surgeon.errors import BadFile

if TYPE_CHECKING:
    from torch import Tensor

# Called with the number of bytes of each tensor that is done.
Progress = Callable[[int], object]


def of_tensor(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes, as hexadecimal text."""
    import torch  # here alone: texts are hashed by commands that never need it

    plain = tensor.detach().cpu().contiguous()
    sha256 = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)} ".encode())
    if plain.numel():
        sha256.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def of_tensors(tensors: Mapping[str, Tensor], *, progress: Progress | None = None) -> dict[str, str]:
    """Key -> SHA-256 for a whole state dict, on all cores: hashlib lets go of Python's lock."""

    def hashed(entry: tuple[str, Tensor]) -> tuple[str, str]:
        key, tensor = entry
        sha256 = of_tensor(tensor)
        if progress:
            progress(tensor.numel() * tensor.element_size())
        return key, sha256

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return dict(pool.map(hashed, tensors.items()))


def of_text(text: str) -> str:
    """SHA-256 of text, as hexadecimal text."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_all(digests: Mapping[str, str]) -> str:
    """One SHA-256 over a table of key -> SHA-256, in its order."""
    return of_text(json.dumps(list(digests.items())))


def compare(
    tensors: Mapping[str, Tensor], digests: Mapping[str, str], what: str | Path, *, progress: Progress | None = None
) -> None:
    """Compare `tensors` with the SHA-256 that `digests` (key -> SHA-256) gives for each of its keys.

    Args:
        what: where the tensors are from, as errors call it.

    Raises:
        BadFile: one is another; names the first.
    """
    for key, sha256 in of_tensors({key: tensors[key] for key in digests}, progress=progress).items():
        if sha256 != digests[key]:
            raise BadFile(
                f"{what}: the weights of {key!r} are not those that were saved (SHA-256 {sha256[:12]}..., "
                f"recorded {digests[key][:12]}...). The file is damaged: get it again."
            )
