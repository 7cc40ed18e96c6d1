"""What can be written: one function a format, chosen by the ending of the output."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkpoints import nested, optimizer
from surgeon.checkpoints.checkpoint import Checkpoint
from surgeon.checkpoints.prefix import find_prefix
from surgeon.errors import BadModel, BadOption, suggest
from surgeon.files import folder, rebuild, recipe, store
from surgeon.files.atomic import replacing
from surgeon.files.derive import recipe_of
from surgeon.files.loaded import LoadedModel
from surgeon.files.unwrap import eager, expression, held, unwrapped
from surgeon.networks.blueprint import Base
from surgeon.outside.timm import opens_folders
from surgeon.programs import export
from surgeon.programs.unfold import is_program
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import note, noted, resolved

# Takes a network, its recipe as text, the path to write to, and where the network came from; returns a note.
Writer = Callable[[nn.Module, str, Path, LoadedModel | None], str | None]


def write_safetensors(model: nn.Module, text: str, path: Path, loaded: LoadedModel | None) -> None:
    """Weights, and the recipe in the file's metadata."""
    store.write_safetensors(model.state_dict(), text, path)


def write_torch(model: nn.Module, text: str, path: Path, loaded: LoadedModel | None) -> None:
    """The checkpoint that came in, with the attention in each of its state dicts and optimizers; else a state dict."""
    if loaded is not None and loaded.checkpoint is not None:
        torch.save(_extended(loaded.checkpoint, loaded.prefix, model, text), path)
    else:
        torch.save(store.labelled(model.state_dict(), text), path)


def write_folder(model: nn.Module, text: str, path: Path, loaded: LoadedModel | None) -> str | None:
    """A folder that `timm.create_model("local-dir:...")` opens once surgeon is imported."""
    path.mkdir()
    store.write_safetensors(model.state_dict(), text, path / "model.safetensors")
    folder.write_config(model, text, path / "config.json")
    return None if opens_folders() else "surgeon alone: timm opens folders from 1.0.16 on"


def write_program(model: nn.Module, text: str, path: Path, loaded: LoadedModel | None) -> str:
    """A `torch.export` program, the recipe beside it in the archive."""
    return export.write_program(model, text, path, _example(model, loaded))


def write_onnx(model: nn.Module, text: str, path: Path, loaded: LoadedModel | None) -> str:
    """An ONNX graph."""
    return export.write_onnx(model, text, path, _example(model, loaded))


def _example(model: nn.Module, loaded: LoadedModel | None) -> Arguments | None:
    """What the network is known to run on."""
    return (loaded.example if loaded else None) or resolved(noted(model), model)


FORMATS: dict[str, Writer] = {
    "safetensors": write_safetensors,
    "pth": write_torch,
    "folder": write_folder,
    "pt2": write_program,
    "onnx": write_onnx,
}
# These run the network to write it.
EXPORTS = ("pt2", "onnx")
ENDINGS = {
    ".safetensors": "safetensors",
    ".pth": "pth",
    ".pt": "pth",
    ".tar": "pth",
    ".ckpt": "pth",
    ".bin": "pth",
    ".pt2": "pt2",
    ".onnx": "onnx",
    "": "folder",
}


def format_of(path: str | PathLike[str], name: str | None = None) -> str:
    """The format for an output: `name` if given, else by the ending of `path`.

    Raises:
        BadOption: neither names one.

    >>> format_of("resnet50_cbam.safetensors")
    'safetensors'
    """
    if name is not None:
        if name not in FORMATS:
            raise BadOption(f"unknown format {name!r}. {suggest(name, FORMATS)}")
        return name
    ending = Path(path).suffix
    if ending not in ENDINGS:
        hint = suggest(ending, [known for known in ENDINGS if known])
        raise BadOption(
            f"{path} ends in {ending!r}, which stands for no format. {hint} "
            "No ending makes a folder; --format chooses one."
        )
    return ENDINGS[ending]


def save(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    base: Base | str | None = None,
    format: str | None = None,
    force: bool = True,
    example_inputs: Any = None,
) -> None:
    """Write a network with attention so that `surgeon.load` gives it back: weights, and the recipe beside them.

    The file appears whole or not at all. What DDP, DataParallel, torch.compile, AveragedModel and accelerate have put
    around the network is taken off for it: the file is that of the network inside.

    Args:
        path: its ending chooses the format: .safetensors, .pth, .pt2, .onnx, none for a timm model folder.
        base: `torchvision:NAME` or `timm:NAME`, for a network that can't be recognised by its keys and shapes; or,
            for one that no library builds, what makes it in another process: `package.module:function`.
        format: the format's name, whatever the ending.
        force: replace what is there.
        example_inputs: what the network runs on, as in `inject`, where it was operated on without one and surgeon can't
            guess it. Its form is kept in the file, and what the file would give back is compared on it.

    Raises:
        BadModel: a network that no library builds, or attention that has no import path. BadFile: can't be written.

    >>> surgeon.save(surgeon.inject(model, "cbam"), "resnet50_cbam.safetensors")
    """
    model = unwrapped(model)
    example = resolved(example_inputs, model)
    derived = _recipe(model, base, example)
    if not is_program(model):
        with eager(model):
            rebuild.compare(model, derived, example)
    if example is not None:
        note(model, example)
    write(model, recipe.to_text(derived), path, format=format, force=force)


def _recipe(model: nn.Module, base: Base | str | None, example: Arguments | None) -> recipe.Recipe:
    """The recipe of a network; where it is none, but holds one, the refusal names that."""
    try:
        return recipe_of(model, base=base, example=example)
    except BadModel as error:
        path = held(model) if base is None else None
        if path is None:
            raise
        what = f"{type(model).__name__} holds the network, and is none of a library's itself"
        raise BadModel(f"{what}: surgeon.save({expression(path)}, ...).") from error


def write(
    model: nn.Module,
    text: str,
    path: str | PathLike[str],
    *,
    loaded: LoadedModel | None = None,
    format: str | None = None,
    force: bool = False,
    unless: Callable[[], object] | None = None,
) -> str | None:
    """Write `model` with its recipe `text` to `path`, whole or not at all; returns what there is to say of the file.

    Args:
        loaded: what came in; its checkpoint shows the shape that a .pth should have.
        unless: called when all is written and before it takes its place; what it raises leaves the old file there.
    """
    chosen = format_of(path, format)
    if is_program(model) and chosen not in EXPORTS:
        raise BadOption(
            "a program without a library's name can only be written as .pt2 or .onnx. "
            "If it is a library's network: --arch torchvision:NAME or timm:NAME."
        )
    with replacing(path, force=force) as fresh:
        note = FORMATS[chosen](model, text, fresh, loaded)
        if unless is not None:
            unless()
        return note


def _extended(checkpoint: Checkpoint, prefix: str, model: nn.Module, text: str) -> Any:
    """The checkpoint that came in, with the attention of `model` in it."""
    known = {key.removeprefix(prefix) for key in checkpoint.tensors}
    attention = {key: value for key, value in model.state_dict().items() if key not in known}
    new = {name for name, _ in model.named_parameters()} - known

    def with_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # Weights and their average may lie under prefixes of their own.
        here = find_prefix(tensors, known)
        return store.labelled({**tensors, **{f"{here}{key}": value for key, value in attention.items()}}, text)

    def with_new_parameters(state: dict[str, Any]) -> dict[str, Any]:
        return optimizer.extend(state, model, new)

    return nested.changed(checkpoint, weights=with_attention, state=with_new_parameters)
