"""What a network with attention writes beside its weights where its library saves it: `save_pretrained`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from surgeon.attention import attention_modules
from surgeon.checkpoints import digest
from surgeon.errors import NoRecipe, SurgeonError
from surgeon.trace.inputs import Arguments

# Beside config.json and the weights, in whatever folder a library writes: how the attention is put back, and its
# weights. The library's own file has them as well, but under names that it may have changed.
NAME, WEIGHTS = "surgeon.json", "surgeon.safetensors"
# Raised when an old surgeon would misread the file.
FORMAT = 1
# What transformers and the Hugging Face Hub's mixin call it, and all that build on the two.
METHOD = "save_pretrained"


def attach(model: nn.Module, example: Arguments | None) -> None:
    """Let the `save_pretrained` of this one network write surgeon's recipe as well; no class is changed.

    Parts of it that can be saved by themselves, such as the backbone of a classifier, do so too.
    """
    for module in model.modules():
        is_new = module is model or METHOD not in vars(module)
        if is_new and hasattr(type(module), METHOD) and attention_modules(module):
            # What a part is called with, nobody has said.
            vars(module)[METHOD] = SavePretrained(module, example if module is model else None)


def detach(model: nn.Module) -> None:
    """Undo `attach` on `model` and its parts."""
    for module in model.modules():
        saving = vars(module).get(METHOD)
        if isinstance(saving, SavePretrained) and not attention_modules(module):
            del vars(module)[METHOD]


class SavePretrained:
    """`save_pretrained` of one network. An object and no closure, so that the network is copied and pickled with it."""

    def __init__(self, model: nn.Module, example: Arguments | None) -> None:
        self.model = model
        self.example = None if example is None else _shapes(example)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return getattr(type(self.model), METHOD).__doc__

    def __call__(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> Any:
        result = getattr(type(self.model), METHOD)(self.model, save_directory, *args, **kwargs)
        # Of several processes only one writes; where that is said, it is said so.
        if attention_modules(self.model) and kwargs.get("is_main_process", True):
            self._write(Path(save_directory), kwargs.get("state_dict"))
        return result

    def _write(self, folder: Path, gathered: Mapping[str, Any] | None) -> None:
        """Write both files; the weights are those of a state dict that was handed over, where one was."""
        tensors = attention_tensors(self.model.state_dict() if gathered is None else gathered, self.model)
        try:
            text = recipe(self.model, self.example, tensors)
        # The weights are written: a training run must not end in an error over a note beside them.
        except SurgeonError as error:
            warnings.warn(f"{folder} has no recipe for its attention: {error}", NoRecipe, stacklevel=3)
        else:
            # The recipe last: it says which weights belong to it.
            _appear(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
            _appear(folder / NAME, lambda path: path.write_text(text, encoding="utf-8"))


def _appear(path: Path, write: Callable[[Path], object]) -> None:
    """Let a file appear whole: written under another name, and renamed."""
    part = path.with_name(f".{path.name}.part")
    write(part)
    part.replace(path)


def attention_tensors(state: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the attention of `model`, each in memory of its own, out of a state dict."""
    gates = tuple(f"{path}." for path in attention_modules(model))
    return {key: tensor.detach().cpu().clone().contiguous() for key, tensor in state.items() if key.startswith(gates)}


def recipe(model: nn.Module, example: Any, tensors: Mapping[str, Tensor]) -> str:
    """How to put the attention of `model` back, as JSON text: relative to a network that its library builds."""
    from surgeon.surgery.operations import operations_of, settings_of, versions

    kind = type(model)
    data = {
        "format": FORMAT,
        "network": f"{kind.__module__}:{kind.__qualname__}",
        "operations": [plan.to_dict() for plan in operations_of(model)],
        "settings": settings_of(model),
        "example": example,
        "tensors": digest.of_tensors(tensors),
        "versions": versions(),
    }
    return json.dumps(data, indent=1)


def _shapes(example: Arguments) -> dict[str, Any] | None:
    """The example that was planned with, in shapes and types; None where it is more than tensors by place and name."""
    tensors = [*example.args, *example.kwargs.values()]
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    return {
        "args": [_shape(tensor) for tensor in example.args],
        "kwargs": {name: _shape(tensor) for name, tensor in example.kwargs.items()},
    }


def _shape(tensor: torch.Tensor) -> list[Any]:
    return [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
