"""What a network does that its weights do not show: epsilons, strides, rates of dropout, other than its library's.

A file names the library's builder and its arguments. What somebody set on the modules afterwards, or by arguments
that are no JSON (`norm_layer=partial(nn.BatchNorm2d, eps=1e-3)`), would silently come back as the library's default.
So two networks with the same keys are compared, module by module: numbers and texts that differ go into
the file, and whatever a file can't hold is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any, NamedTuple

from torch import nn

from surgeon.attention import Gate
from surgeon.errors import BadModel, BadOption
from surgeon.forward.subclass import grafts_of, names_read
from surgeon.networks.blueprint import Settings
from surgeon.networks.caches import left_by_a_run
from surgeon.networks.equal import is_empty, is_function, is_plain, listed, number, origin, same
from surgeon.outside.timm import ARGUMENTS
from surgeon.outside.torch import COMPILED, BatchNorm, buffer_table, child_table, unsaved
from surgeon.trace.inputs import Arguments

# No settings: what torch keeps on each module, timm's notes on where a network came from, and how a network is saved.
OTHERS = {COMPILED, "pretrained_cfg", "default_cfg", ARGUMENTS, "save_pretrained"}
BOOKS = frozenset(vars(nn.Module())) | OTHERS
# What to do about a difference that no file can hold.
NAME_IT = "Name what makes this network, and another process can: base='package.module:function'."


class Difference(NamedTuple):
    """One attribute that is not what the library makes.

    value: the number or the text that a file will hold. trouble: why a file can't hold it, where it can't.
    """

    path: str
    name: str
    value: Any = None
    trouble: str = ""


def changed(model: nn.Module, stock: nn.Module, *, example: Arguments | None = None, advice: str = NAME_IT) -> Settings:
    """The settings in which `model` differs from `stock`, which its library has just built.

    Both have the same keys; attention in `model` is passed over, unless `stock` is a gate itself. What a forward
    fills is no setting.

    Args:
        example: what to run the network on in order to see that; None where surgeon has to guess.
        advice: what to do about a difference that no file can hold.

    Raises:
        BadModel: a difference that is no number, no text and no tuple of these; names the module.
    """
    found: Settings = {}
    for difference in _without_caches(list(_differences(model, stock, advice)), stock, example):
        if difference.trouble:
            raise _refusal(difference.path, difference.trouble, advice)
        found.setdefault(difference.path, {})[difference.name] = difference.value
    return found


def _differences(model: nn.Module, stock: nn.Module, advice: str) -> Iterator[Difference]:
    for path, own in stock.named_modules():
        module = model.get_submodule(path)
        _same_class(path, module, own, advice)
        _same_children(path, module, own, advice)
        yield from _other_tables(path, module, own)
        yield from _other_attributes(path, module, own)


def _without_caches(differences: list[Difference], stock: nn.Module, example: Arguments | None) -> Iterator[Difference]:
    """The differences less those in what a run fills."""
    if differences:
        caches = left_by_a_run(stock, example)
        differences = [found for found in differences if (found.path, found.name) not in caches]
    # Numbers that training moves on (a temperature, a count of steps) are worth keeping: only what can't be is dropped.
    if any(found.trouble for found in differences):
        caches = left_by_a_run(stock, example, training=True)
        differences = [found for found in differences if not found.trouble or (found.path, found.name) not in caches]
    yield from differences


def _other_attributes(path: str, module: nn.Module, own: nn.Module) -> Iterator[Difference]:
    # As a `type[Module]` it would not be hashable to mypy.
    kind: type = type(own)
    read = names_read(kind)
    for name, value in vars(module).items():
        if name in BOOKS:
            continue
        expected, value = getattr(own, name, None), number(value)
        if hasattr(own, name) and is_plain(value) and is_plain(expected):
            if listed(value) != listed(expected):
                yield Difference(path, name, listed(value))
        elif is_function(value) or is_function(expected):
            shadows_method = hasattr(own, name) and name not in vars(own) and not _is_own(value, module, name)
            if shadows_method or name in read and not same(value, expected):
                yield Difference(path, name, trouble=f"its {name!r} is a function that the library does not set")
        # What is empty at first is filled while the network runs.
        elif name in read and not (expected is None or is_empty(expected)) and not same(value, expected):
            yield Difference(path, name, trouble=f"its {name!r} is not what the library makes")


def _is_own(value: Any, module: nn.Module, name: str) -> bool:
    """Whether an attribute is the class's own method, which some tool has put on the object."""
    is_bound = isinstance(value, MethodType) and value.__self__ is module
    return is_bound and value.__func__ is getattr(type(module), name, None)


def settings(module: nn.Module) -> dict[str, Any]:
    """Name -> value of what can be set on a module: numbers, texts, and tuples and dicts of these."""
    of_class = {name: getattr(type(module), name) for name in dir(type(module)) if not name.startswith("__")}
    attributes = of_class | vars(module)
    return {name: value for name, value in attributes.items() if name not in BOOKS and is_plain(value)}


def _same_class(path: str, module: nn.Module, own: nn.Module, advice: str) -> None:
    found, expected = grafts_of(module)[0], type(own)
    # In one process both compute the same, and torch and timm make either of the other.
    synchronised = isinstance(module, nn.SyncBatchNorm) and isinstance(own, BatchNorm)
    if found is not expected and not synchronised and origin(found) != origin(expected):
        raise _refusal(path, f"it is {_article(found)} where the library builds {_article(expected)}", advice)


def _same_children(path: str, module: nn.Module, own: nn.Module, advice: str) -> None:
    """The same children in the same order: a Sequential runs them so, and the keys show nothing of activations."""
    found = [name for name, child in child_table(module).items() if child is not None and not isinstance(child, Gate)]
    expected = [name for name, child in child_table(own).items() if child is not None]
    if found != expected:
        holds, puts = ", ".join(found) or "no modules", ", ".join(expected) or "none"
        raise _refusal(path, f"it holds {holds} where the library puts {puts}", advice)


def _other_tables(path: str, module: nn.Module, own: nn.Module) -> Iterator[Difference]:
    """Buffers that no state dict holds; one of another size was made for another image, and is made again."""
    for name in sorted(unsaved(own) & set(buffer_table(module))):
        one, other = buffer_table(module)[name], buffer_table(own)[name]
        if one is not None and other is not None and one.shape == other.shape and not same(one, other):
            trouble = f"its table {name!r} holds other numbers than the library's, and no state dict has them"
            yield Difference(path, name, trouble=trouble)


def _article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _refusal(path: str, description: str, advice: str) -> BadModel:
    return BadModel(
        f"{path or 'the network itself'} can't be named in a file: {description}. A file holds what a library builds, "
        f"with numbers and texts set as you like. {advice}"
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
