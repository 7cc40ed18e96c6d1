"""What a network does that its weights do not show: epsilons, strides, rates of dropout, set otherwise than its library does.

A file names the library's builder and its arguments. What somebody set on the modules afterwards, or by arguments
that are no JSON (`norm_layer=partial(nn.BatchNorm2d, eps=1e-3)`), would come back as the library's default, and nobody
would be told. So two networks with the same keys are compared, module by module: numbers and texts that differ go into
the file, and whatever a file can't hold is refused.
"""

import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from weakref import ReferenceType

import numpy as np
import torch
from torch import nn

from surgeon.attention import Gate
from surgeon.errors import BadModel, BadOption
from surgeon.graft import grafts_of, names_read

NUMBERS = (bool, int, float, str, type(None))
# Modules' own bookkeeping, and timm's notes on where a network came from: no settings.
BOOKS = frozenset(vars(nn.Module())) | {"pretrained_cfg", "default_cfg", "_model_args"}
FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, type, partial)
# As deep as objects are looked into: an anchor generator, its list, its tensors.
DEPTH = 4


def changed(model, stock):
    """Path -> {name: value} of the settings in which `model` differs from `stock`, which its library has just built.

    Both have the same keys; attention in `model` is passed over, unless `stock` is a gate itself.

    Raises:
        BadModel: a difference that is no number, no text and no tuple of these; names the module.
    """
    found = {}
    for path, own in stock.named_modules():
        module = model.get_submodule(path)
        _same_class(path, module, own)
        _same_children(path, module, own)
        _same_tables(path, module, own)
        differing = dict(_differing(path, module, own))
        if differing:
            found[path] = differing
    return found


def _differing(path, module, own):
    """(name, value) of each setting that a file can hold; all else must be the same."""
    read = names_read(type(own))
    for name, value in vars(module).items():
        if name in BOOKS:
            continue
        known = hasattr(own, name)
        expected, value = getattr(own, name, None), _plain(value)
        if known and _is_plain(value) and _is_plain(expected):
            if _listed(value) != _listed(expected):
                yield name, _listed(value)
        elif _is_function(value) or _is_function(expected):
            shadowing = known and name not in vars(own)
            if shadowing or name in read and not _same(value, expected):
                raise _refusal(path, f"its {name!r} is a function that the library does not set")
        # What is empty at first is filled while the network runs.
        elif name in read and not (expected is None or _is_empty(expected)) and not _same(value, expected):
            raise _refusal(path, f"its {name!r} is not what the library makes")


def settings(module):
    """Name -> value of what can be set on a module: numbers, texts, and tuples and dicts of these."""
    held = {name: getattr(type(module), name) for name in dir(type(module)) if not name.startswith("__")} | vars(module)
    return {name: value for name, value in held.items() if name not in BOOKS and _is_plain(value)}


def _plain(value):
    """A number of numpy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    return type(value) in NUMBERS


def _listed(value):
    """The value as JSON will give it back."""
    if isinstance(value, (list, tuple)):
        return [_listed(part) for part in value]
    return {key: _listed(part) for key, part in value.items()} if isinstance(value, dict) else value


def _is_function(value):
    return isinstance(value, FUNCTIONS)


def _is_empty(value):
    return isinstance(value, (list, tuple, dict, set)) and not value


def _same(one, other, depth=DEPTH):
    """Whether two attributes of modules mean the same, as far as can be seen."""
    if one is other or not depth:
        return True
    # Weights have keys, and modules are compared on their own.
    if isinstance(one, (nn.Parameter, nn.Module, ReferenceType)):
        return type(one) is type(other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one.detach().cpu(), other.detach().to("cpu", one.dtype))
    if _is_plain(one) and _is_plain(other):
        return _listed(one) == _listed(other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b, depth - 1) for a, b in zip(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key], depth - 1) for key in one)
    if _is_function(one) or _is_function(other):
        return _origin(one) == _origin(other) and all(_same(a, b, depth - 1) for a, b in zip(_bound(one), _bound(other)))
    if type(one) is not type(other) or not hasattr(one, "__dict__"):
        return type(one) is type(other) and bool(one == other)
    return _same(vars(one), vars(other), depth - 1)


def _bound(function):
    """What a function holds besides its code: of a partial its arguments, of a closure the values in it."""
    if isinstance(function, partial):
        return function.func, function.args, function.keywords
    cells = getattr(function, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells], getattr(function, "__defaults__", None)


def _origin(thing):
    """Where a class or function is written; a script that runs is the module of its file."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    home = sys.modules.get(kind.__module__ or "")
    return getattr(home, "__file__", None) or kind.__module__, kind.__qualname__


def _same_class(path, module, own):
    found, expected = grafts_of(module)[0], type(own)
    # One process computes the same with either, and torch and timm make the one from the other.
    synchronised = isinstance(module, nn.SyncBatchNorm) and isinstance(own, nn.modules.batchnorm._BatchNorm)
    if found is not expected and not synchronised and _origin(found) != _origin(expected):
        raise _refusal(path, f"it is {_article(found)} where the library builds {_article(expected)}")


def _same_children(path, module, own):
    """The same modules in the same order: a Sequential runs them so, and an activation has no key that would tell."""
    found = [name for name, child in module._modules.items() if child is not None and not isinstance(child, Gate)]
    expected = [name for name, child in own._modules.items() if child is not None]
    if found != expected:
        raise _refusal(path, f"it holds {', '.join(found) or 'no modules'} where the library puts {', '.join(expected) or 'none'}")


def _same_tables(path, module, own):
    """Buffers that no state dict holds; one of another size was made for another image, and is made again."""
    for name in own._non_persistent_buffers_set & set(module._buffers):
        one, other = module._buffers[name], own._buffers[name]
        if one is not None and other is not None and one.shape == other.shape and not _same(one, other):
            raise _refusal(path, f"its table {name!r} holds other numbers than the library's, and no state dict has them")


def _article(kind):
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _refusal(path, told):
    return BadModel(f"{path or 'the network itself'} can't be named in a file: {told}. A file holds what a library builds, with numbers and texts set "
                    "as you like. Name what makes this network, and another process can: base='package.module:function'.")


def settle(model, found):
    """Set on `model`, in place, what `changed` found; returns it.

    Raises:
        BadOption: a module or a setting that this network does not have.
    """
    for path, values in found.items():
        try:
            module = model.get_submodule(path)
        except AttributeError:
            raise BadOption(f"there is no module {path!r} on which {', '.join(values)} could be set.") from None
        known = settings(module)
        for name, value in values.items():
            if name not in known or not _is_plain(value) or isinstance(value, str) != isinstance(known[name], str) and None not in (value, known[name]):
                raise BadOption(f"{path or 'the network'} has no setting {name!r} that could be {value!r}.")
            setattr(module, name, _as(known[name], value))
    return model


def _as(old, value):
    """A list from JSON as the tuple that it was, unless the library keeps a list there."""
    return tuple(value) if isinstance(value, list) and not isinstance(old, list) else value
