"""One-off subclasses: a module stays the same object, its class gets one step more in its forward.

So `isinstance`, methods, attributes, hooks, memory and keys stay, as with torch's own
parametrizations. What a class was made from is text and names, so that a whole model can be
copied, and pickled into a process that has only imported surgeon.
"""

import inspect
import linecache
import math
import re
from collections.abc import Callable, KeysView, Mapping
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import torch
import torch.fx
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from surgeon.attention.capture import is_traced
from surgeon.forward.arguments import argument, free, header, with_defaults
from surgeon.forward.guards import QUESTIONS, Guard
from surgeon.forward.leaves import names_in
from surgeon.forward.otherwise import Behind, otherwise
from surgeon.forward.reading import Readings


@dataclass(frozen=True)
class Forward:
    """A rewritten forward: source text for each mode, and the functions that it names.

    The two texts are one and the same unless the forward reads `self.training`.

    guards: what a call must be like; any other takes the original's way.
    gates: each with the child that it stands behind.
    """

    evaluate: str
    train: str
    functions: tuple[tuple[str, Callable[..., Any]], ...]
    guards: tuple[Guard, ...] = ()
    gates: tuple[Behind, ...] = ()

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        evaluate = self._compiled(self.evaluate, base)
        if self.train == self.evaluate:
            return evaluate
        train = self._compiled(self.train, base)

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return train(self, *args, **kwargs) if self.training else evaluate(self, *args, **kwargs)

        return forward

    def _compiled(self, source: str, base: type[nn.Module]) -> FunctionType:
        """The function that `source` defines, with the parameters of the original and the guards before all else."""
        asked, gates = self.guards, self.gates

        def other(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return otherwise(module, base, asked, gates, args, kwargs)

        head, taken = header(base.forward)
        questions = [guard.text for guard in asked] + [f"none({name})" for name in free(base.forward)]
        asking = f"    if not ({' and '.join(questions)}):\n        return otherwise(self, {taken})\n"
        first = asking if questions else ""
        source = re.sub(r"def forward\(.*\n", lambda _: f"def forward{head}:\n{first}", source, count=1)
        functions = {"otherwise": other, **QUESTIONS, **dict(self.functions)}
        return with_defaults(_compiled(source, functions, base), base.forward)


@dataclass(frozen=True)
class Output:
    """Attention `child` on what a module returns; on leaf `index` of it where that is a collection.

    size: where the size of the map is read, if it is tokens that are returned.
    """

    child: str
    index: int | None = None
    size: Readings | None = None

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        child, index, size = self.child, self.index, self.size
        if index is None:

            def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
                result = base.forward(self, *args, **kwargs)
                return self.get_submodule(child)(result, *_told(size, args, kwargs, result))

            return forward

        def forward_leaf(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            result = base.forward(self, *args, **kwargs)
            leaves, tree = tree_flatten(result)
            leaves[index] = self.get_submodule(child)(leaves[index], *_told(size, args, kwargs, result))
            return tree_unflatten(leaves, tree)

        return forward_leaf


@dataclass(frozen=True)
class Input:
    """Attention `child` on something that a module is given; `where` says on what, as `where_given` does.

    size: where the size of the map is read, if it is tokens that are given.
    """

    child: str
    where: str = "input"
    size: Readings | None = None

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        child, given, size = self.child, argument(base.forward, self.where), self.size

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            told = _told(size, args, kwargs, None)
            gate = self.get_submodule(child)
            args, kwargs = given.changed((lambda x: gate(x, *told)) if told else gate, args, kwargs)
            return base.forward(self, *args, **kwargs)

        return forward


@dataclass(frozen=True)
class Proportions:
    """A refusal of maps of other proportions than planned, in the module that gives tokens their map.

    What weighs the tokens later is not told how high and wide their map is.

    gates: the attribute that holds the gates which weigh them.
    size: of the map, as planned. readings: where it is read.
    """

    gates: str
    size: tuple[int, ...]
    readings: Readings

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        name, size, readings = self.gates, self.size, self.readings

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            result = base.forward(self, *args, **kwargs)
            now = _read(readings, args, kwargs, result)
            # Whoever traces the network has no numbers here, or would keep those of this one image.
            if not is_traced() and not isinstance(now[0], torch.fx.Proxy):
                for gate in getattr(self, name):
                    gate.refuse_other_proportions(now, size)
            return result

        return forward


def _told(
    size: Readings | None, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> tuple[()] | tuple[tuple[Any, ...]]:
    """What a gate is told beside the tokens: their map's size, where the call shows it."""
    return () if size is None else (_read(size, args, kwargs, result),)


def _read(size: Readings, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> tuple[Any, ...]:
    return tuple(r.within(result) if r.name is None else r.given(args, kwargs) for r in size)


Graft = Forward | Input | Output | Proportions


def _views(inner: type[nn.Module], child: str) -> dict[str, Callable[..., Any]]:
    """How a container shows what it holds: all but `child`, since a forward may run whatever it is shown."""

    def shown(self: nn.Module) -> dict[str, nn.Module | None]:
        return {name: module for name, module in _held(inner, self) if name != child}

    def modules(self: nn.Module) -> list[Any]:
        return list(shown(self).values())

    def keys(self: nn.Module) -> KeysView[str]:
        return shown(self).keys()

    def item(self: nn.Module, at: int | slice) -> nn.Module:
        return nn.Sequential(*modules(self)[at]) if isinstance(at, slice) else modules(self)[at]

    if issubclass(inner, nn.ModuleDict):
        return {
            "items": lambda self: shown(self).items(),
            "values": lambda self: shown(self).values(),
            "keys": keys,
            "__iter__": lambda self: iter(keys(self)),
            "__len__": lambda self: len(shown(self)),
        }
    if issubclass(inner, nn.Sequential | nn.ModuleList):
        return {
            "__iter__": lambda self: iter(modules(self)),
            "__len__": lambda self: len(modules(self)),
            "__getitem__": item,
        }
    return {}


def _held(inner: type[nn.Module], container: nn.Module) -> list[tuple[str, nn.Module | None]]:
    grafts = vars(inner).get("grafted_from", ())[1:]
    hidden = {graft.child for graft in grafts if isinstance(graft, Input | Output)}
    return [(name, module) for name, module in container._modules.items() if name not in hidden]


# Asked for in a forward, these give it attention as one child more, to be run a second time.
_ALL_CHILDREN = {"children", "named_children", "_modules", "modules", "named_modules"}


def runs_any_child(module: nn.Module) -> bool:
    """True if the forward of `module`, or a method that it calls, runs whatever children there are."""
    kind: type = type(module)
    return bool(_ALL_CHILDREN & names_read(kind, theirs=False))


@cache
def names_read(cls: type, theirs: bool = True) -> frozenset[str]:
    """Names of attributes and functions in the forward of `cls` and in the methods that it calls.

    Args:
        theirs: False to leave torch's own methods out.
    """
    names: set[str] = set()
    seen: set[str] = set()
    todo = ["forward"]
    while todo:
        name = todo.pop()
        function = inspect.getattr_static(cls, name, None)
        function = function.fget if isinstance(function, property) else function
        if name in seen or not inspect.isfunction(function):
            continue
        if not theirs and (function.__module__ or "").startswith("torch.nn.modules."):
            continue
        seen.add(name)
        found = list(names_in(function.__code__))
        names.update(found)
        todo += found
    return frozenset(names)


@cache
def grafted(base: type, *grafts: Graft) -> type[nn.Module]:
    """The subclass of `base` with each of `grafts` applied, innermost first; one class for all equal modules."""
    if not grafts:
        return base
    inner = grafted(base, *grafts[:-1])
    forward: Any = grafts[-1].method(inner)
    # To whoever asks, it takes what the original takes.
    forward.__signature__ = inspect.signature(inner.forward)
    body = {
        "forward": forward,
        "__reduce_ex__": _reduce,
        "__doc__": base.__doc__,
        # Libraries look a class up by its name in text; it answers to the name that it had.
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "grafted_from": (base, *grafts),
    }
    if isinstance(grafts[-1], Input | Output):
        body |= _views(inner, grafts[-1].child)
    return type(base.__name__, (inner,), body)


NO_GRAFTS = (
    "its forward is set on the object, or written by torch.fx or torch.jit; surgeon can extend that of a class only"
)


def takes_grafts(module: nn.Module) -> bool:
    """True if a subclass may replace the module's class, and would be heard."""
    return "forward" not in vars(module) and not isinstance(module, (torch.fx.GraphModule, torch.jit.ScriptModule))


def grafts_of(module: nn.Module) -> tuple[type, *tuple[Graft, ...]]:
    """(original class, *grafts) of a module; its own class alone if nothing was done to it."""
    return vars(type(module)).get("grafted_from", (type(module),))


def _reduce(self: Any, protocol: int) -> tuple[Any, ...]:
    """Pickle and copy as the original class would, but through `revived`, which makes the subclass again."""
    base, *_ = self.grafted_from
    made = base.__reduce_ex__(self, protocol)
    return (revived, self.grafted_from, *made[2:])


def revived(base: type, *grafts: Graft) -> nn.Module:
    """An empty module of the grafted class; pickle fills in its state."""
    cls = grafted(base, *grafts)
    return cls.__new__(cls)


def _compiled(source: str, functions: Mapping[str, Callable[..., Any]], base: type) -> FunctionType:
    """The function `forward` that `source` defines, with tracebacks that show its lines."""
    name = f"<surgeon: forward of {base.__name__} {abs(hash(source)):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    known = {"torch": torch, "device": torch.device, "inf": math.inf, "nan": math.nan, "NoneType": type(None)}
    scope: dict[str, Any] = {**known, **functions}
    exec(compile(source, name, "exec"), scope)
    return scope["forward"]
