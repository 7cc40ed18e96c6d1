"""Where among its arguments a module is given a value, as text: `input`, `input.pixel_values`, `input.maps.1`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from surgeon.trace.graph import Graph, Value

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters(forward: Callable[..., Any]) -> list[str]:
    """The names of what a forward takes by position, `self` aside."""
    return [name for name, parameter in inspect.signature(forward).parameters.items() if parameter.kind in _BY_POSITION][1:]


def where_given(call: Graph, value: Value) -> str:
    """`input` for a module's first argument, else the argument's name (its number among free ones), and the leaf of it where it is a collection."""
    names = parameters(type(call.module).forward)
    arguments = [(names[place] if place < len(names) else str(place), argument) for place, argument in enumerate(call.args)]
    values = iter(call.inputs)
    for name, argument in (*arguments, *call.kwargs.items()):
        leaves, _ = tree_flatten(argument)
        found = [number for number, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and next(values) is value]
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

    def changed(self, change: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
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
