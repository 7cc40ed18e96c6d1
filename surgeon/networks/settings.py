"""What a network does that its weights do not show: epsilons, strides, rates of dropout, other than its library's.

A file names the library's builder and its arguments. What somebody set on the modules afterwards, or by arguments
that are no JSON (`norm_layer=partial(nn.BatchNorm2d, eps=1e-3)`), would silently come back as the library's default.
So two networks with the same keys are compared, module by module: numbers and texts that differ go into
the file, and whatever a file can't hold is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from surgeon.attention import Gate
from surgeon.errors import BadModel, BadOption
from surgeon.forward.subclass import grafts_of, names_read
from surgeon.networks.blueprint import Settings
from surgeon.networks.equal import is_empty, is_function, is_plain, listed, number, origin, same

# No settings: what torch keeps on each module, timm's notes on where a network came from, and how a network is saved.
BOOKS = frozenset(vars(nn.Module())) | {"pretrained_cfg", "default_cfg", "_model_args", "save_pretrained"}


def changed(model: nn.Module, stock: nn.Module) -> Settings:
    """The settings in which `model` differs from `stock`, which its library has just built.

    Both have the same keys; attention in `model` is passed over, unless `stock` is a gate itself.

    Raises:
        BadModel: a difference that is no number, no text and no tuple of these; names the module.
    """
    found: Settings = {}
    for path, own in stock.named_modules():
        module = model.get_submodule(path)
        _same_class(path, module, own)
        _same_children(path, module, own)
        _same_tables(path, module, own)
        differing = dict(_differing(path, module, own))
        if differing:
            found[path] = differing
    return found


def _differing(path: str, module: nn.Module, own: nn.Module) -> Iterator[tuple[str, Any]]:
    """(name, value) of each setting that a file can hold; all else must be the same."""
    # As a `type[Module]` it would not be hashable to mypy.
    kind: type = type(own)
    read = names_read(kind)
    for name, value in vars(module).items():
        if name in BOOKS:
            continue
        expected, value = getattr(own, name, None), number(value)
        if hasattr(own, name) and is_plain(value) and is_plain(expected):
            if listed(value) != listed(expected):
                yield name, listed(value)
        elif is_function(value) or is_function(expected):
            shadows_method = hasattr(own, name) and name not in vars(own)
            if shadows_method or name in read and not same(value, expected):
                raise _refusal(path, f"its {name!r} is a function that the library does not set")
        # What is empty at first is filled while the network runs.
        elif name in read and not (expected is None or is_empty(expected)) and not same(value, expected):
            raise _refusal(path, f"its {name!r} is not what the library makes")


def settings(module: nn.Module) -> dict[str, Any]:
    """Name -> value of what can be set on a module: numbers, texts, and tuples and dicts of these."""
    of_class = {name: getattr(type(module), name) for name in dir(type(module)) if not name.startswith("__")}
    attributes = of_class | vars(module)
    return {name: value for name, value in attributes.items() if name not in BOOKS and is_plain(value)}


def _same_class(path: str, module: nn.Module, own: nn.Module) -> None:
    found, expected = grafts_of(module)[0], type(own)
    # In one process both compute the same, and torch and timm make either of the other.
    synchronised = isinstance(module, nn.SyncBatchNorm) and isinstance(own, nn.modules.batchnorm._BatchNorm)
    if found is not expected and not synchronised and origin(found) != origin(expected):
        raise _refusal(path, f"it is {_article(found)} where the library builds {_article(expected)}")


def _same_children(path: str, module: nn.Module, own: nn.Module) -> None:
    """The same children in the same order: a Sequential runs them so, and the keys show nothing of activations."""
    found = [name for name, child in module._modules.items() if child is not None and not isinstance(child, Gate)]
    expected = [name for name, child in own._modules.items() if child is not None]
    if found != expected:
        holds, puts = ", ".join(found) or "no modules", ", ".join(expected) or "none"
        raise _refusal(path, f"it holds {holds} where the library puts {puts}")


def _same_tables(path: str, module: nn.Module, own: nn.Module) -> None:
    """Buffers that no state dict holds; one of another size was made for another image, and is made again."""
    for name in own._non_persistent_buffers_set & set(module._buffers):
        one, other = module._buffers[name], own._buffers[name]
        if one is not None and other is not None and one.shape == other.shape and not same(one, other):
            what = f"its table {name!r} holds other numbers than the library's, and no state dict has them"
            raise _refusal(path, what)


def _article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _refusal(path: str, description: str) -> BadModel:
    return BadModel(
        f"{path or 'the network itself'} can't be named in a file: {description}. A file holds what a library builds, "
        "with numbers and texts set as you like. Name what makes this network, and another process can: "
        "base='package.module:function'."
    )


def settle(model: nn.Module, found: Mapping[str, Mapping[str, Any]]) -> nn.Module:
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
            if name not in known or not _fits(value, known[name]):
                raise BadOption(f"{path or 'the network'} has no setting {name!r} that could be {value!r}.")
            setattr(module, name, _like(known[name], value))
    return model


def _fits(value: Any, old: Any) -> bool:
    """Whether `value` may replace `old`: a text replaces a text only; None may replace anything and be replaced."""
    if not is_plain(value):
        return False
    return value is None or old is None or isinstance(value, str) == isinstance(old, str)


def _like(old: Any, value: Any) -> Any:
    """A list from JSON as the tuple that it was, unless the library keeps a list there."""
    return tuple(value) if isinstance(value, list) and not isinstance(old, list) else value
