"""A SOURCE as people have it, turned into a network: a library's name, a checkpoint, a folder, a program, a file of surgeon's."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from surgeon import networks
from surgeon.checkpoints import digest
from surgeon.checkpoints.checkpoint import Checkpoint, first_line, read
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile, BadOption
from surgeon.files import rebuild, store
from surgeon.files import recipe as recipes
from surgeon.files.derive import recipe_of
from surgeon.files.folder import read_folder
from surgeon.networks import identify
from surgeon.networks.blueprint import PROGRAM, Base
from surgeon.networks.code import names_code
from surgeon.networks.recognise import candidates, completed, recognise
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.programs import unfold
from surgeon.programs.export import read_program
from surgeon.trace.outputs import max_abs_diff, outputs

# Of the largest output: as far as a program's may lie from those of the network that it was made of.
MOST_ROUNDING = 1e-4


@dataclass
class LoadedModel:
    """A network and where it came from.

    description: what it is and where its weights are from.
    checkpoint: the file it was read from, as it was; None for a library's network.
    prefix: what stood in front of the keys in that file.
    order: its keys, where they are in another order than the network's.
    recipe: that of a file which surgeon wrote.
    notes: what a reader should know.
    example: (args, kwargs) that it runs on, where the file says so.
    """

    model: torch.nn.Module
    base: Base
    description: str
    checkpoint: Checkpoint | None = None
    prefix: str = ""
    order: tuple = ()
    recipe: recipes.Recipe | None = None
    notes: list = field(default_factory=list)
    example: tuple | None = None


def open_source(source, *, arch=None, weights=None, pretrained=False, num_classes=None, arguments=None, allow_pickle=False,
         allow_imports=False, ema=False, copy=True, progress=None):
    """The network that `source` stands for, with its weights, in evaluation mode.

    Args:
        source: `torchvision:NAME`, `timm:NAME`, `package.module:Class` (imported, and called), or a path: a checkpoint, a timm folder, a .pt2 program, a file of surgeon's.
        arch: the library's name for a checkpoint that does not say what it is.
        weights: a checkpoint for a library's network.
        pretrained: the library's own weights instead.
        num_classes, arguments: for the constructor; both are read from the weights where there are any.
        allow_pickle: read pickled objects, running their code. allow_imports: import a user's own network or attention that a file names.
        ema: the averaged weights of a file that has both.
        copy: False leaves the weights in the file, mapped into memory, for a network that is only written elsewhere.
        progress: called with numbers of bytes.
    """
    if is_name(source):
        if weights is not None and pretrained:
            raise BadOption("--weights and --pretrained are two answers to one question. Give one.")
        if weights is None:
            model = networks.build(source, pretrained=pretrained, num_classes=num_classes, arguments=arguments)
            told = "pretrained weights" if pretrained else "weights as it makes them" if names_code(source) else "random weights"
            return LoadedModel(model, networks.remembered(model), f"{source}, {told}")
        arch, source = source, weights
    elif weights is not None or pretrained:
        raise BadOption(f"{source} brings its own weights: leave --weights and --pretrained out, or give torchvision:NAME as the source.")
    given = _given(num_classes, arguments)
    named = read_folder(source, ema=ema)[1] if Path(source).is_dir() else None
    found = open_file(source, allow_pickle=allow_pickle, ema=ema)
    if isinstance(found, torch.nn.Module):
        return _whole(found, source, arch)
    if found.recipe is not None:
        return _own(found, arch, allow_imports, copy, progress)
    if found.program is not None and arch is None:
        return _program(found)
    return _stock(found, arch, given, copy, named)


def _program(found):
    """A program that nobody names: operated on as it is."""
    base = Base(PROGRAM, Path(found.path).name)
    note = "a program without a library's name: it can be written as .pt2 or .onnx (--arch NAME opens all formats)"
    return LoadedModel(_network(found), base, f"the program in {found.path}", notes=[note], example=found.program.example_inputs)


def _same_function(found, model, base):
    """A program may have the keys of a network and compute something else: another epsilon, another activation.

    Raises:
        BadOption: what it says to its own example is not what the network says.
    """
    example = found.program.example_inputs
    if example is None:
        return
    told = _difference(outputs(_network(found), *example), outputs(model, *example))
    if told:
        raise BadOption(f"{found.path} has the weights of {base}, and computes something else: {told}. Leave --arch out to put attention into the program itself.")


def _difference(said, expected):
    """In what two lists of outputs differ, in words; "" where they are the same but for rounding."""
    one, other = (", ".join(" x ".join(map(str, part.shape)) for part in outputs) for outputs in (said, expected))
    if one != other:
        return f"{one or 'nothing'} and not {other or 'nothing'}"
    far, size = max_abs_diff(expected, said), max((float(part.abs().max()) for part in expected), default=0.0)
    return "" if far <= MOST_ROUNDING * size else f"outputs of up to {size:.3g} differ by {far:.3g}"


def _network(found):
    try:
        return unfold.network(found.program)
    # Whole, and yet no graph that Python can run: unfolding can fail in any part of torch.
    except Exception as error:
        raise BadFile(f"{found.path} can't be unfolded into modules: {first_line(error)}.") from error


def open_file(path, *, allow_pickle=False, ema=False):
    """What lies at `path`: a Checkpoint of whatever kind, or an nn.Module that was pickled."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path, ema=ema)[0]
    if path.suffix == ".pt2" and path.is_file():
        made, text, sha256 = read_program(path, allow_pickle=allow_pickle)
        return Checkpoint(path, dict(made.state_dict), None, (), text, sha256, program=made)
    return read(path, allow_pickle=allow_pickle, ema=ema)


def open_surgeon_file(path, *, allow_pickle=False):
    """The store.SurgeonFile file at `path`.

    Raises:
        BadFile: damaged, or not written by surgeon.
    """
    found = open_file(path, allow_pickle=allow_pickle)
    if isinstance(found, torch.nn.Module):
        raise BadFile(f"{path} is a pickled module, not a file of surgeon's.")
    return store.opened(found)


def unwrapped(found, expected):
    """(a checkpoint's tensors under the network's own keys, what stood in front of them)."""
    prefix = find_prefix(found.tensors, expected)
    return strip_prefix(found.tensors, prefix)[0], prefix


def load(path, *, allow_imports=False, allow_pickle=False):
    """The network in a file that surgeon wrote, in evaluation mode, every weight compared with its SHA-256.

    Args:
        path: .safetensors, .pth, .pt2, or a model folder; also anything else that says which network it is.
        allow_imports: import the network or the attention that the file names, if it is a user's own.
        allow_pickle: read a pickled module, or a .pt2 that is more than a plain program: this runs code from the file.

    Raises:
        BadFile: missing, damaged, incomplete, or for a network that can't be built here; names the first difference.

    >>> model = surgeon.load("resnet50_cbam.safetensors")
    """
    if is_name(path):
        raise BadFile(f"there is no file {str(path)!r}. surgeon.load reads files; timm.create_model and torchvision.models.get_model build by name.")
    return open_source(path, allow_imports=allow_imports, allow_pickle=allow_pickle).model


def is_name(source):
    """Whether `source` is a library's name, or that of somebody's code; one that is meant to be, but wrong, is reported as such."""
    if str(source).partition(":")[0] in networks.LIBRARIES:
        return True
    return not Path(source).exists() and (names_code(source) or not Path(source).suffix and "/" not in str(source))


def _given(num_classes, arguments):
    return dict(arguments or {}) | ({"num_classes": num_classes} if num_classes is not None else {})


def _whole(model, path, arch):
    base = identify.infer(model, arch)
    # Of the object, not of its file, is what the recipe says: built by it again, the network must be this one.
    rebuild.compare(model, recipe_of(model, base=base, known=dict.fromkeys(model.state_dict(), "")))
    return LoadedModel(networks.remember(model, base), base, f"{base}, unpickled from {path}")


def _own(found, arch, allow_imports, copy, progress):
    opened = store.opened(found)
    if opened.recipe.base.library == PROGRAM:
        return _own_program(opened)
    if arch and str(opened.recipe.base) != arch:
        raise BadOption(f"{found.path} is {opened.recipe.base}, not {arch}: its recipe says so. Leave --arch out.")
    model = store.restore(opened.recipe, opened.tensors, found.path, allow_imports=allow_imports, copy=copy, progress=progress)
    return LoadedModel(model, opened.recipe.base, f"{opened.recipe.base} with attention, from {found.path}", found, opened.prefix, opened.recipe.order, opened.recipe)


def _own_program(opened):
    """A program without a library's name that has attention in it already: it is its own builder."""
    if opened.checkpoint.program is None:
        raise BadFile(f"{opened.checkpoint.path}: its network, {opened.recipe.base.name}, is a program; only a .pt2 holds it.")
    digest.compare(opened.tensors, opened.recipe.tensors, opened.checkpoint.path)
    loaded = _program(opened.checkpoint)
    return replace(loaded, recipe=opened.recipe)


def _stock(found, arch, given, copy, named):
    """A checkpoint that knows nothing of surgeon."""
    base, prefix, tensors, notes = recognise(found, candidates(found, arch, given, named))
    model = networks.build(base, empty=True)
    order = tuple(tensors) if list(tensors) != list(shapes_of(model)) else ()
    load_weights(model, completed(model, tensors), copy=copy)
    if found.program is not None:
        _same_function(found, model, base)
    # Under translated keys the file's own shape has no place for the attention.
    shape = found if all(prefix + key in found.tensors for key in tensors) else None
    return LoadedModel(model, base, f"{base}, weights from {found.path}", shape, prefix, order, None, notes)
