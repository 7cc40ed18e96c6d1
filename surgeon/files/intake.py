"""A SOURCE as people have it, turned into a network.

A source is a library's name, a checkpoint, a folder, a program, or a file of surgeon's.
"""

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from surgeon import networks
from surgeon.checkpoints.checkpoint import Checkpoint, read
from surgeon.errors import BadFile, BadOption
from surgeon.files import origins, store
from surgeon.files.folder import read_folder
from surgeon.files.loaded import LoadedModel
from surgeon.files.pretrained import is_pretrained, load_pretrained
from surgeon.files.store import SurgeonFile
from surgeon.networks.code import names_code
from surgeon.networks.recognise import candidates
from surgeon.programs.export import read_program
from surgeon.trace.noise import resolved


def open_source(
    source: str | PathLike[str],
    *,
    arch: str | None = None,
    weights: str | PathLike[str] | None = None,
    pretrained: bool = False,
    num_classes: int | None = None,
    arguments: dict[str, Any] | None = None,
    allow_pickle: bool = False,
    allow_imports: bool = False,
    ema: bool = False,
    copy: bool = True,
    example_inputs: Any = None,
    progress: Callable[[int], object] | None = None,
) -> LoadedModel:
    """The network that `source` stands for, with its weights, in evaluation mode.

    Args:
        source: `torchvision:NAME`, `timm:NAME`, `sample:digits`, `package.module:Class` (imported, and called), or a
            path: a checkpoint, a timm folder, a .pt2 program, a file of surgeon's.
        arch: the library's name for a checkpoint that does not say what it is.
        weights: a checkpoint for a library's network.
        pretrained: the library's own weights instead.
        num_classes, arguments: for the constructor; both are read from the weights where there are any.
        allow_pickle: read pickled objects, running their code.
        allow_imports: import a user's own network or attention that a file names.
        ema: the averaged weights of a file that has both.
        copy: False leaves the weights in the file, mapped into memory, for a network that is only written elsewhere.
        example_inputs: what the network runs on; None for the file's own example, or a guess.
        progress: called with numbers of bytes.
    """
    if is_name(source):
        if weights is not None and pretrained:
            raise BadOption("--weights and --pretrained are two answers to one question. Give one.")
        if weights is None:
            return _with_example(origins.named(str(source), pretrained, num_classes, arguments), example_inputs)
        arch, source = str(source), weights
    elif weights is not None or pretrained:
        raise BadOption(
            f"{source} brings its own weights: leave --weights and --pretrained out, "
            "or give torchvision:NAME as the source."
        )
    options = dict(arguments or {}) | ({"num_classes": num_classes} if num_classes is not None else {})
    found: Checkpoint | nn.Module
    in_config = None
    if Path(source).is_dir():
        found, in_config = read_folder(source, ema=ema)
    else:
        found = open_file(source, allow_pickle=allow_pickle, ema=ema)
    if isinstance(found, nn.Module):
        return origins.unpickled(found, source, arch, example_inputs)
    if found.recipe is not None:
        return origins.surgeons(
            found, arch, allow_imports=allow_imports, copy=copy, example_inputs=example_inputs, progress=progress
        )
    if isinstance(found.program, ExportedProgram) and arch is None:
        return _with_example(origins.program(found.program, found.path), example_inputs)
    trained = None if arch else origins.folder_of(found)
    if trained is not None:
        return origins.trained(found, trained, allow_imports=allow_imports, copy=copy, example_inputs=example_inputs)
    return _with_example(origins.recognised(found, candidates(found, arch, options, in_config), copy), example_inputs)


def _with_example(loaded: LoadedModel, example_inputs: Any) -> LoadedModel:
    """What was taken in, with what its network runs on, where somebody says so."""
    if example_inputs is None:
        return loaded
    return replace(loaded, example=resolved(example_inputs, loaded.model))


def open_file(path: str | PathLike[str], *, allow_pickle: bool = False, ema: bool = False) -> Checkpoint | nn.Module:
    """What lies at `path`: a Checkpoint of whatever kind, or an nn.Module that was pickled."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path, ema=ema)[0]
    if path.suffix == ".pt2" and path.is_file():
        program, recipe, sha256 = read_program(path, allow_pickle=allow_pickle)
        return Checkpoint(path, dict(program.state_dict), recipe=recipe, recipe_sha256=sha256, program=program)
    return read(path, allow_pickle=allow_pickle, ema=ema)


def says_what_it_is(path: str | PathLike[str], *, allow_pickle: bool = False) -> bool:
    """Whether what lies at `path` names its network, or is one."""
    if Path(path).is_dir():
        return True
    found = open_file(path, allow_pickle=allow_pickle)
    if isinstance(found, nn.Module):
        return True
    return found.recipe is not None or found.program is not None or bool(found.architectures)


def open_surgeon_file(path: str | PathLike[str], *, allow_pickle: bool = False) -> SurgeonFile:
    """The SurgeonFile at `path`.

    Raises:
        BadFile: damaged, or not written by surgeon.
    """
    found = open_file(path, allow_pickle=allow_pickle)
    if isinstance(found, nn.Module):
        raise BadFile(f"{path} is a pickled module, not a file of surgeon's.")
    return store.opened(found)


def load(
    path: str | PathLike[str], *, allow_imports: bool = False, allow_pickle: bool = False, example_inputs: Any = None
) -> nn.Module:
    """The network in a file that surgeon wrote, in evaluation mode, every weight compared with its SHA-256.

    Args:
        path: .safetensors, .pth, .pt2, or a folder (timm's, or what `save_pretrained` wrote); also anything else that
            says which network it is.
        allow_imports: import the network or the attention that the file names, if it is a user's own.
        allow_pickle: read a pickled module, or a .pt2 that is more than a plain program: this runs code from the file.
        example_inputs: what the network runs on, where neither the file nor surgeon knows it.

    Raises:
        BadFile: missing, damaged, incomplete, or for a network that can't be built here; names the first difference.

    >>> model = surgeon.load("resnet50_cbam.safetensors")
    """
    if is_name(path):
        raise BadFile(
            f"there is no file {str(path)!r}. surgeon.load reads files; "
            "timm.create_model and torchvision.models.get_model build by name."
        )
    if is_pretrained(path):
        return load_pretrained(path, allow_imports=allow_imports, example_inputs=example_inputs)
    return open_source(
        path, allow_imports=allow_imports, allow_pickle=allow_pickle, example_inputs=example_inputs
    ).model


def is_name(source: str | PathLike[str]) -> bool:
    """Whether `source` is meant as the name of a library's network or of somebody's code, and not as a path.

    A misspelled name is still one, so that whoever builds it can suggest the right one.
    """
    text = str(source)
    if text.partition(":")[0] in networks.LIBRARIES:
        return True
    if Path(source).exists():
        return False
    looks_like_path = "/" in text or Path(source).suffix != ""
    return names_code(text) or not looks_like_path
