"""Folders that a library's `save_pretrained` wrote of a network with attention, opened with the attention in it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.attention import attention_modules
from surgeon.checkpoints import checkpoint, digest
from surgeon.errors import BadFile, BadPlan, SurgeonError
from surgeon.files import notice
from surgeon.files.rebuild import first_key_difference, refuse_imports
from surgeon.networks.classes import class_of
from surgeon.networks.identify import first_difference
from surgeon.networks.settings import settle
from surgeon.networks.weights import shapes_of
from surgeon.operation import apply
from surgeon.sites import Plan
from surgeon.surgery.saving import FORMAT, NAME, WEIGHTS


def is_pretrained(path: str | PathLike[str]) -> bool:
    """Whether a library's `save_pretrained` wrote a network with attention to the folder `path`."""
    return (Path(path) / NAME).is_file()


def load_pretrained(
    folder: str | PathLike[str], *, allow_imports: bool = False, example_inputs: Any = None
) -> nn.Module:
    """The network in such a folder, of the class that it was saved from."""
    data = _read(folder)
    kind = class_of(data["network"], allow_imports=allow_imports)
    return from_pretrained(kind, folder, allow_imports=allow_imports, example_inputs=example_inputs)


def from_pretrained(
    kind: Any, folder: str | PathLike[str], *, example_inputs: Any = None, allow_imports: bool = False, **arguments: Any
) -> nn.Module:
    """What `kind.from_pretrained(folder, **arguments)` gives, with the attention that it was saved with.

    Networks of transformers, of segmentation_models_pytorch, and whatever else has a `save_pretrained` write
    `surgeon.json` and `surgeon.safetensors` into their folder after `surgeon.inject`, since their own loading knows
    no attention and drops it.

    `vit.save_pretrained("vit_cbam")` after `surgeon.inject(vit, "cbam")`, and elsewhere
    `vit = surgeon.from_pretrained(ViTForImageClassification, "vit_cbam")`.

    Args:
        kind: a class (`ViTForImageClassification`, `AutoModel`) or a function (`smp.from_pretrained`).
        folder: what `save_pretrained` wrote, on this machine.
        example_inputs: what to run the network on; None takes the shapes that it was operated with.
        allow_imports: import attention of a user's own that the folder names.

    Raises:
        BadFile: no such folder, no surgeon.json in it, or weights that are not those of its attention.
    """
    data = _read(folder)
    plans = data["operations"]
    refuse_imports(plans, allow_imports)
    loader: Callable[..., nn.Module] = getattr(kind, "from_pretrained", kind)
    if "strict" in inspect.signature(loader, follow_wrapped=False).parameters:
        # The attention's weights find no place until it is there.
        arguments = {"strict": False} | arguments
    with notice.told():
        model = loader(folder, **arguments)
    example = data["example"] if example_inputs is None else example_inputs
    try:
        for plan in plans:
            apply(model, plan, example_inputs=example)
        settle(model, data["settings"])
    except SurgeonError as error:
        name = type(model).__name__
        raise BadFile(
            f"{folder} is a {data['network']}, and its attention does not fit this {name}: {error}"
        ) from error
    _fill(model, _tensors(Path(folder), data["tensors"]), folder)
    return model


def _read(folder: str | PathLike[str]) -> dict[str, Any]:
    """What surgeon.json says."""
    path = Path(folder) / NAME
    if not path.is_file():
        raise BadFile(
            f"there is no {path}: no network with attention was saved there. "
            "(One on the Hub has to be fetched first: huggingface_hub.snapshot_download.)"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if int(data["format"]) > FORMAT:
            raise BadFile(f"{path} has format {data['format']}; this surgeon reads up to {FORMAT}: upgrade it.")
        return {
            "network": str(data["network"]),
            "operations": [Plan.from_dict(plan) for plan in data["operations"]],
            "settings": dict(data["settings"]),
            "example": _example(data["example"]),
            "tensors": {str(key): str(value) for key, value in data["tensors"].items()},
        }
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError, BadPlan) as error:
        raise BadFile(f"{path} can't be read: {type(error).__name__}: {error}.") from None


def _example(data: Any) -> Any:
    """An example of the shapes that were written down; its numbers do not matter to an operation."""
    if data is None:
        return None
    args = tuple(map(_zeros, data["args"]))
    kwargs = {name: _zeros(shape) for name, shape in data["kwargs"].items()}
    return kwargs or args


def _zeros(shape: Any) -> Tensor:
    size, dtype = shape
    return torch.zeros(size, dtype=getattr(torch, dtype))


def _tensors(folder: Path, hashes: Mapping[str, str]) -> dict[str, Tensor]:
    """The attention's weights, every one of them compared with its SHA-256."""
    tensors = checkpoint.read(folder / WEIGHTS).tensors
    difference = first_key_difference(hashes, tensors)
    if difference:
        raise BadFile(f"{folder / WEIGHTS} is not whole: {difference}.")
    digest.compare(tensors, hashes, folder / WEIGHTS)
    return tensors


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], folder: str | PathLike[str]) -> None:
    """Copy the attention's weights, all of them or none."""
    gates = tuple(f"{path}." for path in attention_modules(model))
    own = {key: shape for key, shape in shapes_of(model).items() if key.startswith(gates)}
    difference = first_difference(own, {key: tuple(value.shape) for key, value in tensors.items()})
    if difference:
        raise BadFile(f"{folder} has weights of other attention: {difference}.")
    state = model.state_dict()
    with torch.no_grad():
        for key, value in tensors.items():
            state[key].copy_(value)
