"""What can be written: one function a format, chosen by the ending of the output."""

from pathlib import Path

import torch

from surgeon.checkpoints import nested, optimizer
from surgeon.errors import BadOption, suggest
from surgeon.files import folder, rebuild, recipe, store
from surgeon.files.atomic import replacing
from surgeon.files.derive import recipe_of
from surgeon.programs import export
from surgeon.programs.unfold import is_program


def write_safetensors(model, text, path, given):
    """Weights, and the recipe in the file's metadata."""
    store.write_safetensors(model.state_dict(), text, path)


def write_torch(model, text, path, given):
    """A checkpoint of the shape that came in, with the attention in every state dict and optimizer of it; else a state dict."""
    torch.save(_reshaped(model, text, given) if given and given.checkpoint else store.labelled(model.state_dict(), text), path)


def write_folder(model, text, path, given):
    """A folder that `timm.create_model("local-dir:...")` opens once surgeon is imported."""
    path.mkdir()
    store.write_safetensors(model.state_dict(), text, path / "model.safetensors")
    folder.write_config(model, text, path / "config.json")


def write_program(model, text, path, given):
    """A `torch.export` program, the recipe beside it in the archive."""
    return export.write_program(model, text, path, given and given.example)


def write_onnx(model, text, path, given):
    """An ONNX graph."""
    return export.write_onnx(model, text, path, given and given.example)


FORMATS = {
    "safetensors": write_safetensors,
    "pth": write_torch,
    "folder": write_folder,
    "pt2": write_program,
    "onnx": write_onnx,
}
# These run the network to write it.
EXPORTS = ("pt2", "onnx")
ENDINGS = {".safetensors": "safetensors", ".pth": "pth", ".pt": "pth", ".tar": "pth", ".ckpt": "pth", ".bin": "pth",
           ".pt2": "pt2", ".onnx": "onnx", "": "folder"}


def format_of(path, name=None):
    """The format for an output: `name` if given, else by the ending of `path`.

    Raises:
        BadOption: neither says one.

    >>> format_of("resnet50_cbam.safetensors")
    'safetensors'
    """
    if name is not None:
        if name not in FORMATS:
            raise BadOption(f"unknown format {name!r}. {suggest(name, FORMATS)}")
        return name
    ending = Path(path).suffix
    if ending not in ENDINGS:
        raise BadOption(f"{path} ends in {ending!r}, which stands for no format. {suggest(ending, [e for e in ENDINGS if e])} "
                        "No ending makes a folder; --format chooses one.")
    return ENDINGS[ending]


def save(model, path, *, base=None, format=None, force=True):
    """Write a network with attention so that `surgeon.load` gives it back: weights, and the recipe beside them.

    The file appears whole or not at all.

    Args:
        path: its ending chooses the format: .safetensors, .pth, .pt2, .onnx, none for a timm model folder.
        base: `torchvision:NAME` or `timm:NAME`, for a network that can't be recognised by its keys and shapes; or, for one that no
            library builds, what makes it in another process: `package.module:function`.
        format: the format's name, whatever the ending.
        force: replace what is there.

    Raises:
        BadModel: a network that no library builds, or attention that has no import path. BadFile: can't be written.

    >>> surgeon.save(surgeon.inject(model, "cbam"), "resnet50_cbam.safetensors")
    """
    made = recipe_of(model, base=base)
    if not is_program(model):
        rebuild.compare(model, made)
    write(model, recipe.to_text(made), path, format=format, force=force)


def write(model, text, path, *, given=None, format=None, force=False, unless=None):
    """Write `model` with its recipe `text` to `path`, whole or not at all; returns what there is to say about the file, or None.

    Args:
        given: an LoadedModel whose checkpoint shows the shape that a .pth should have.
        unless: called when all is written and before it takes its place; what it raises leaves the old file there.
    """
    chosen = FORMATS[format_of(path, format)]
    if is_program(model) and chosen not in [FORMATS[name] for name in EXPORTS]:
        raise BadOption("a program without a library's name can only be written as .pt2 or .onnx. If it is a library's network: --arch torchvision:NAME or timm:NAME.")
    with replacing(path, force=force) as fresh:
        told = chosen(model, text, fresh, given)
        if unless is not None:
            unless()
        return told


def _reshaped(model, text, given):
    """The checkpoint that came in, extended."""
    known = {key.removeprefix(given.prefix) for key in given.checkpoint.tensors}
    fresh = {f"{given.prefix}{key}": value for key, value in model.state_dict().items() if key not in known}
    new = {name for name, _ in model.named_parameters()} - known
    return nested.changed(
        given.checkpoint,
        weights=lambda tensors: store.labelled({**tensors, **fresh}, text),
        state=lambda state: optimizer.extend(state, model, new),
    )
