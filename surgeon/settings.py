"""What a network does that its weights do not show: epsilons, strides, rates of dropout, set otherwise than its library does.

A file names the library's builder and its arguments. What somebody set on the modules afterwards, or by arguments
that are no JSON (`norm_layer=partial(nn.BatchNorm2d, eps=1e-3)`), would come back as the library's default, and nobody
would be told. So two networks with the same keys are compared, module by module: numbers and texts that differ go into
the file, and whatever a file can't hold is refused.
"""

from functools import partial

import torch
from torch import nn

from surgeon.errors import BadModel, BadOption
from surgeon.graft import grafts_of, names_read

NUMBERS = (bool, int, float, str, type(None))
# Modules' own bookkeeping: their state, not their settings.
BOOKS = frozenset(vars(nn.Module()))


def changed(model, stock):
    """Path -> {name: value} of the settings in which `model` differs from `stock`, which its library has just built.

    Both have the same keys; attention in `model` is passed over, since `stock` has nothing at its paths.

    Raises:
        BadModel: a difference that is no number, no text and no tuple of these; names the module.
    """
    found = {}
    for path, own in stock.named_modules():
        try:
            module = model.get_submodule(path)
        except AttributeError:
            raise _refusal(path, f"there is none, where {_article(own)} is expected") from None
        _same_class(path, module, own)
        _same_tables(path, module, own)
        _same_functions(path, module, own)
        differing = {name: _texts(value) for name, value in settings(module).items() if name in vars(own) and _differs(value, vars(own)[name])}
        if differing:
            found[path] = differing
    return found


def settings(module):
    """Name -> value of what is set on a module itself: numbers, texts, and tuples and dicts of these."""
    return {name: value for name, value in vars(module).items() if name not in BOOKS and _is_plain(value)}


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    return isinstance(value, NUMBERS)


def _differs(value, own):
    return _is_plain(own) and _texts(value) != _texts(own)


def _texts(value):
    """The value as JSON will give it back."""
    if isinstance(value, (list, tuple)):
        return [_texts(part) for part in value]
    return {key: _texts(part) for key, part in value.items()} if isinstance(value, dict) else value


def _same_class(path, module, own):
    found, expected = grafts_of(module)[0], type(own)
    # One process computes the same with either, and torch and timm make the one from the other.
    synchronised = isinstance(module, nn.SyncBatchNorm) and isinstance(own, nn.modules.batchnorm._BatchNorm)
    if found is not expected and not synchronised:
        raise _refusal(path, f"it is {_article(module)} where the library builds {_article(own)}")


def _same_tables(path, module, own):
    """Buffers that no state dict holds."""
    for name in own._non_persistent_buffers_set & set(module._buffers):
        one, other = module._buffers[name], own._buffers[name]
        if one is not None and other is not None and one.shape == other.shape and not torch.equal(one.to(other), other):
            raise _refusal(path, f"its table {name!r} holds other numbers than the library's, and no state dict has them")


def _same_functions(path, module, own):
    """Functions that are set on the object: a forward of its own, an activation that the forward calls."""
    theirs, read = vars(own), names_read(type(own))
    for name, value in vars(module).items():
        if not callable(value) and not callable(theirs.get(name)) or isinstance(value, nn.Module):
            continue
        shadowing = name not in theirs and hasattr(type(own), name)
        if shadowing or name in theirs and name in read and not _same_function(value, theirs[name]):
            raise _refusal(path, f"its {name!r} is a function that the library does not set")


def _same_function(one, other):
    if isinstance(one, partial) and isinstance(other, partial):
        return _same_function(one.func, other.func) and repr((one.args, one.keywords)) == repr((other.args, other.keywords))
    names = [(getattr(each, "__module__", None), getattr(each, "__qualname__", type(each).__qualname__)) for each in (one, other)]
    return names[0] == names[1]


def _article(module):
    name = grafts_of(module)[0].__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


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
            if name not in known or not _is_plain(value):
                raise BadOption(f"{path or 'the network'} has no setting {name!r}.")
            setattr(module, name, _as(known[name], value))
    return model


def _as(old, value):
    """A list from JSON as the tuple that it was, unless the library keeps a list there."""
    return tuple(value) if isinstance(value, list) and not isinstance(old, list) else value
