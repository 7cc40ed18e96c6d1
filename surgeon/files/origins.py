"""What each kind of source becomes: a name, a pickled module, a file of surgeon's, a program, somebody's checkpoint."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from surgeon import networks
from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import Checkpoint
from surgeon.checkpoints.prefix import unprefixed
from surgeon.errors import BadFile, BadOption
from surgeon.files import rebuild, store
from surgeon.files.derive import recipe_of
from surgeon.files.folder import read_folder
from surgeon.files.loaded import LoadedModel
from surgeon.files.program import refuse_another_function, unfolded
from surgeon.files.store import SurgeonFile
from surgeon.networks import identify
from surgeon.networks.blueprint import PROGRAM, Base
from surgeon.networks.code import names_code
from surgeon.networks.onboard import is_sample
from surgeon.networks.recognise import completed, recognise
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import noted, resolved


def named(source: str, pretrained: bool, num_classes: int | None, arguments: dict[str, Any] | None) -> LoadedModel:
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


def unpickled(model: nn.Module, path: str | PathLike[str], arch: str | None, example_inputs: Any) -> LoadedModel:
    """A module that was pickled whole."""
    example = resolved(noted(model) if example_inputs is None else example_inputs, model)
    base = identify.infer(model, arch, example=example)
    # The recipe speaks of the object, not of its file: built by the recipe again, the network must be this one.
    recipe = recipe_of(model, base=base, known=dict.fromkeys(model.state_dict(), ""), example=example)
    rebuild.compare(model, recipe, example)
    return LoadedModel(networks.remember(model, base), base, f"{base}, unpickled from {path}", example=example)


def surgeons(
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


def folder_of(found: Checkpoint) -> Checkpoint | None:
    """What lies in the folder of surgeon's that a checkpoint names as its network, as timm's scripts do; else None."""
    for name in found.architectures:
        library, _, folder = name.partition(":")
        if library == "local-dir" and Path(folder).is_dir():
            start, _ = read_folder(folder)
            return start if start.recipe is not None else None
    return None


def trained(
    found: Checkpoint, start: Checkpoint, *, allow_imports: bool, copy: bool, example_inputs: Any
) -> LoadedModel:
    """A network that was trained from the folder `start`: that network, with the weights of `found`."""
    recipe = store.opened(start).recipe
    tensors, prefix = unprefixed(found.tensors, recipe.tensors)
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
    return replace(program(program, path), recipe=opened.recipe)


def program(program: ExportedProgram, path: Path) -> LoadedModel:
    """A program that nobody names: operated on as it is."""
    note = "a program without a library's name: it can be written as .pt2 or .onnx (--arch NAME opens all formats)"
    return LoadedModel(
        unfolded(program, path),
        Base(PROGRAM, path.name),
        f"the program in {path}",
        notes=[note],
        example=Arguments(*program.example_inputs) if program.example_inputs else None,
    )


def recognised(found: Checkpoint, guesses: Iterable[Base], copy: bool) -> LoadedModel:
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
