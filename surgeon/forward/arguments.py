"""What a forward takes: its parameters as text, and where among them a value is given.

The place is text: `input`, `input.pixel_values`, `input.maps.1`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch

from surgeon.outside.torch import tree_flatten, tree_unflatten
from surgeon.trace.graph import Graph, Value

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters(forward: Callable[..., Any]) -> list[str]:
    """The names of what a forward takes by position, `self` aside."""
    taken = inspect.signature(forward).parameters.items()
    return [name for name, parameter in taken if parameter.kind in _BY_POSITION][1:]


def free(forward: Callable[..., Any]) -> list[str]:
    """The names of `*args` and `**kwargs`, where a forward has them."""
    return [name for name, parameter in inspect.signature(forward).parameters.items() if parameter.kind in _FREE]


def header(forward: Callable[..., Any]) -> tuple[str, str]:
    """The parameters of a forward as text, defaulted where they have a default, and that of a call that hands them on.

    >>> header(torch.nn.Flatten.forward), header(torch.nn.Sequential.forward)
    (('(self, input)', 'input'), ('(self, input)', 'input'))
    """
    first, *rest = inspect.signature(forward).parameters.values()
    bare = [_bare(parameter) for parameter in rest]
    told = str(inspect.Signature([first.replace(name="self", annotation=first.empty), *bare]))
    return told, ", ".join(_ON.get(parameter.kind, "{}").format(parameter.name) for parameter in rest)


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter without its annotation, and with None for its default where it has one."""
    default = parameter.empty if parameter.default is parameter.empty else None
    return parameter.replace(annotation=parameter.empty, default=default)


_FREE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_ON: dict[int, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*{}",
    inspect.Parameter.VAR_KEYWORD: "**{}",
    inspect.Parameter.KEYWORD_ONLY: "{0}={0}",
}


def with_defaults(function: FunctionType, forward: Callable[..., Any]) -> FunctionType:
    """`function`, whose parameters are those of `header(forward)`, with the defaults of `forward`."""
    taken = inspect.signature(forward).parameters.values()
    there = [parameter for parameter in taken if parameter.default is not parameter.empty]
    by_name = [parameter for parameter in there if parameter.kind not in _BY_POSITION]
    function.__defaults__ = tuple(parameter.default for parameter in there if parameter.kind in _BY_POSITION) or None
    function.__kwdefaults__ = {parameter.name: parameter.default for parameter in by_name} or None
    return function


def where_given(call: Graph, value: Value) -> str:
    """`input` for a module's first argument, else the argument's name (its number among free ones).

    Where the argument is a collection, followed by the leaf of it.
    """
    names = parameters(type(call.module).forward)
    numbered = enumerate(call.args)
    arguments = [(names[place] if place < len(names) else str(place), argument) for place, argument in numbered]
    values = iter(call.inputs)
    for name, argument in (*arguments, *call.kwargs.items()):
        leaves, _ = tree_flatten(argument)
        tensors = ((number, leaf) for number, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor))
        found = [number for number, _ in tensors if next(values) is value]
        if found and isinstance(argument, torch.Tensor):
            return "input" if name in ("0", *names[:1]) else f"input.{name}"
        if found:
            return f"input.{name}.{found[0]}"
    raise ValueError(f"{call.path} is not given this value")


@dataclass(frozen=True)
class Argument:
    """What `where_given` told, for a forward that may be given it by its name or by its place.

    place: None for one that comes by its name alone. leaf: which leaf of it, None for all of it.
    """

    name: str
    place: int | None
    leaf: int | None

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The argument itself, all of it, in a call."""
        return args[self.place] if self.place is not None and self.place < len(args) else kwargs[self.name]

    def changed(
        self, change: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with this one changed."""
        if self.place is not None and self.place < len(args):
            return (*args[: self.place], self._new(change, args[self.place]), *args[self.place + 1 :]), kwargs
        return args, {**kwargs, self.name: self._new(change, kwargs[self.name])}

    def _new(self, change: Callable[[Any], Any], value: Any) -> Any:
        if self.leaf is None:
            return change(value)
        leaves, structure = tree_flatten(value)
        leaves[self.leaf] = change(leaves[self.leaf])
        return tree_unflatten(leaves, structure)


def argument(forward: Callable[..., Any], where: str) -> Argument:
    """The Argument that a text of `where_given` names.

    >>> argument(torch.nn.Bilinear.forward, "input.input2")
    Argument(name='input2', place=1, leaf=None)
    """
    names = parameters(forward)
    _, _, rest = where.partition(".")
    name, _, leaf = rest.partition(".")
    name = name or (names[0] if names else "0")
    place = names.index(name) if name in names else int(name) if name.isdigit() else None
    return Argument(name, place, int(leaf) if leaf else None)
