"""A SOURCE as people have it, turned into a network.

A source is a library's name, a checkpoint, a folder, a program, or a file of surgeon's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from surgeon import networks
from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import Checkpoint, read
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile, BadOption
from surgeon.files import rebuild, store
from surgeon.files.derive import recipe_of
from surgeon.files.folder import read_folder
from surgeon.files.pretrained import is_pretrained, load_pretrained
from surgeon.files.program import refuse_another_function, unfolded
from surgeon.files.recipe import Recipe
from surgeon.files.store import SurgeonFile
from surgeon.networks import identify
from surgeon.networks.blueprint import PROGRAM, Base
from surgeon.networks.code import names_code
from surgeon.networks.onboard import is_sample
from surgeon.networks.recognise import candidates, completed, recognise
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.programs.export import read_program
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import noted, resolved


@dataclass
class LoadedModel:
    """A network and where it came from.

    description: what it is and where its weights are from.
    checkpoint: the file it was read from, as it was; None for a library's network.
    prefix: what stood in front of the keys in that file.
    order: its keys, where they are in another order than the network's.
    recipe: that of a file which surgeon wrote.
    notes: what a reader should know.
    example: what it runs on, where somebody said so or the file has it.
    """

    model: nn.Module
    base: Base
    description: str
    checkpoint: Checkpoint | None = None
    prefix: str = ""
    order: tuple[str, ...] = ()
    recipe: Recipe | None = None
    notes: list[str] = field(default_factory=list)
    example: Arguments | None = None


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
            return _with_example(_named(str(source), pretrained, num_classes, arguments), example_inputs)
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
        return _unpickled(found, source, arch, example_inputs)
    if found.recipe is not None:
        return _surgeons(
            found, arch, allow_imports=allow_imports, copy=copy, example_inputs=example_inputs, progress=progress
        )
    if isinstance(found.program, ExportedProgram) and arch is None:
        return _with_example(_program(found.program, found.path), example_inputs)
    trained = None if arch else _folder_of(found)
    if trained is not None:
        return _trained(found, trained, allow_imports=allow_imports, copy=copy, example_inputs=example_inputs)
    return _with_example(_recognised(found, candidates(found, arch, options, in_config), copy), example_inputs)


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


def unwrapped(found: Checkpoint, expected: Iterable[str]) -> tuple[dict[str, Tensor], str]:
    """(a checkpoint's tensors under the network's own keys, what stood in front of them)."""
    prefix = find_prefix(found.tensors, expected)
    return strip_prefix(found.tensors, prefix)[0], prefix


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


def _named(source: str, pretrained: bool, num_classes: int | None, arguments: dict[str, Any] | None) -> LoadedModel:
    """A network by its name alone."""
    is_on_board = is_sample(source)
    model = networks.build(source, pretrained=pretrained or is_on_board, num_classes=num_classes, arguments=arguments)
    if is_on_board:
        weights = "the trained weights that surgeon brings"
    elif pretrained:
        weights = "pretrained weights"
    elif names_code(source):
        weights = "weights as it makes them"
    else:
        weights = "random weights"
    base = networks.remembered(model)
    assert base is not None  # `build` has just noted it
    return LoadedModel(model, base, f"{source}, {weights}", example=resolved(noted(model), model))


def _unpickled(model: nn.Module, path: str | PathLike[str], arch: str | None, example_inputs: Any) -> LoadedModel:
    """A module that was pickled whole."""
    example = resolved(noted(model) if example_inputs is None else example_inputs, model)
    base = identify.infer(model, arch, example=example)
    # The recipe speaks of the object, not of its file: built by the recipe again, the network must be this one.
    recipe = recipe_of(model, base=base, known=dict.fromkeys(model.state_dict(), ""), example=example)
    rebuild.compare(model, recipe, example)
    return LoadedModel(networks.remember(model, base), base, f"{base}, unpickled from {path}", example=example)


def _surgeons(
    found: Checkpoint,
    arch: str | None,
    *,
    allow_imports: bool,
    copy: bool,
    example_inputs: Any,
    progress: Callable[[int], object] | None,
) -> LoadedModel:
    """A file that surgeon wrote."""
    opened = store.opened(found)
    recipe = opened.recipe
    if recipe.base.library == PROGRAM:
        return _surgeons_program(opened)
    if arch and str(recipe.base) != str(networks.parse(arch)):
        raise BadOption(f"{found.path} is {recipe.base}, not {arch}: its recipe says so. Leave --arch out.")
    model = store.restore(
        recipe,
        opened.tensors,
        str(found.path),
        allow_imports=allow_imports,
        copy=copy,
        example_inputs=example_inputs,
        progress=progress,
    )
    return LoadedModel(
        model,
        recipe.base,
        f"{recipe.base} with attention, from {found.path}",
        checkpoint=found,
        prefix=opened.prefix,
        order=recipe.order,
        recipe=recipe,
        example=resolved(recipe.example if example_inputs is None else example_inputs, model),
    )


def _folder_of(found: Checkpoint) -> Checkpoint | None:
    """What lies in the folder of surgeon's that a checkpoint names as its network, as timm's scripts do; else None."""
    for name in found.architectures:
        library, _, folder = name.partition(":")
        if library == "local-dir" and Path(folder).is_dir():
            start, _ = read_folder(folder)
            return start if start.recipe is not None else None
    return None


def _trained(
    found: Checkpoint, start: Checkpoint, *, allow_imports: bool, copy: bool, example_inputs: Any
) -> LoadedModel:
    """A network that was trained from the folder `start`: that network, with the weights of `found`."""
    recipe = store.opened(start).recipe
    tensors, prefix = unwrapped(found, recipe.tensors)
    stock = {key: tuple(value.shape) for key, value in tensors.items() if not recipe.is_attention(key)}
    try:
        # A script may have given it another head.
        base = identify.fit(recipe.base, stock)
    except BadFile as error:
        raise BadFile(f"{found.path} says that it is {start.path}, and is not: {error}") from None
    model = rebuild.rebuild(replace(recipe, base=base), allow_imports=allow_imports, example_inputs=example_inputs)
    difference = identify.first_difference(shapes_of(model), {key: tuple(tensors[key].shape) for key in tensors})
    if difference:
        raise BadFile(f"{found.path} says that it is {start.path}, and is not: {difference}.")
    load_weights(model, {key: tensors[key] for key in recipe.tensors}, copy=copy)
    networks.remember(model, base)
    return LoadedModel(
        model,
        base,
        f"{base} with attention, trained from {start.path}, weights from {found.path}",
        checkpoint=found,
        prefix=prefix,
        recipe=recipe_of(model, base=base),
    )


def _surgeons_program(opened: SurgeonFile) -> LoadedModel:
    """A program without a library's name that has attention in it already: it is its own builder."""
    path, program = opened.checkpoint.path, opened.checkpoint.program
    if not isinstance(program, ExportedProgram):
        raise BadFile(f"{path}: its network, {opened.recipe.base.name}, is a program; only a .pt2 holds it.")
    digest.compare(opened.tensors, opened.recipe.tensors, str(path))
    return replace(_program(program, path), recipe=opened.recipe)


def _program(program: ExportedProgram, path: Path) -> LoadedModel:
    """A program that nobody names: operated on as it is."""
    note = "a program without a library's name: it can be written as .pt2 or .onnx (--arch NAME opens all formats)"
    return LoadedModel(
        unfolded(program, path),
        Base(PROGRAM, path.name),
        f"the program in {path}",
        notes=[note],
        example=Arguments(*program.example_inputs) if program.example_inputs else None,
    )


def _recognised(found: Checkpoint, guesses: Iterable[Base], copy: bool) -> LoadedModel:
    """A checkpoint that knows nothing of surgeon: the network of the first guess that its keys fit."""
    base, prefix, tensors, notes = recognise(found, guesses)
    model = networks.build(base, empty=True)
    order = tuple(tensors) if list(tensors) != list(shapes_of(model)) else ()
    load_weights(model, completed(model, tensors), copy=copy)
    if isinstance(found.program, ExportedProgram):
        refuse_another_function(found.program, found.path, model, base)
    # Under translated keys the file's own shape has no place for the attention.
    is_untranslated = all(prefix + key in found.tensors for key in tensors)
    return LoadedModel(
        model,
        base,
        f"{base}, weights from {found.path}",
        checkpoint=found if is_untranslated else None,
        prefix=prefix,
        order=order,
        notes=notes,
    )
