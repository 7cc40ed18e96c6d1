"""One-off subclasses: a module stays the same object, its class gets one step more in its forward.

So `isinstance`, methods, attributes, hooks, memory and keys stay, as with torch's own
parametrizations. What a class was made from is text and names, so that a whole model can be
copied, and pickled into a process that has only imported surgeon.
"""

import inspect
from collections.abc import Callable, KeysView
from functools import cache
from types import MethodType
from typing import Any

import torch
import torch.fx
from torch import nn
from torch.nn.utils import parametrize
from typing_extensions import Unpack

from surgeon.attention import Gate
from surgeon.forward.grafts import Forward, Graft, Input, Inside, Instead, Output, Replaced
from surgeon.forward.leaves import names_in
from surgeon.forward.otherwise import shallow
from surgeon.outside.torch import CHILDREN, child_table


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
    hidden = {graft.child for graft in grafts if isinstance(graft, Input | Output | Replaced)}
    return [(name, module) for name, module in child_table(container).items() if name not in hidden]


# Asked for in a forward, these give it attention as one child more, to be run a second time.
_ALL_CHILDREN = {"children", "named_children", CHILDREN, "modules", "named_modules"}


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
    if base.__module__ == parametrize.__name__:
        return _parametrized(base, *grafts)
    inner = grafted(base, *grafts[:-1])
    forward: Any = grafts[-1].method(inner)
    # To whoever asks, it takes what the original takes.
    if not isinstance(grafts[-1], Instead):
        forward.__signature__ = inspect.signature(inner.forward)
    body = {
        "forward": forward,
        "__reduce_ex__": _reduce,
        "__doc__": base.__doc__,
        # Libraries look a class up by its name in text; it answers to the name that it had.
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "grafted_from": (base, *grafts),
        "__setattr__": _set,
        **{name: _merging(name) for name in MERGING if inspect.isfunction(getattr(base, name, None))},
    }
    if isinstance(grafts[-1], Input | Output | Replaced):
        body |= _views(inner, grafts[-1].child)
    return type(base.__name__, (inner,), body)


def _parametrized(base: type, *grafts: Graft) -> type[nn.Module]:
    """`base`, a one-off class that torch made to parametrize a weight, as if torch had made it after the operation.

    So torch finds what it looks for where the parametrization is taken off: its own properties in the module's class,
    and right above it the class without them, which keeps the attention.
    """
    original, *earlier = vars(base.__bases__[0]).get("grafted_from", (base.__bases__[0],))
    own = {name: value for name, value in vars(base).items() if name not in ("__dict__", "__weakref__")}
    return type(base.__name__, (grafted(original, *earlier, *grafts),), own | {"grafted_from": (base, *grafts)})


NO_GRAFTS = (
    "its forward is set on the object, or written by torch.fx or torch.jit; surgeon can extend that of a class only"
)


def takes_grafts(module: nn.Module) -> bool:
    """True if a subclass may replace the module's class, and would be heard."""
    return "forward" not in vars(module) and not isinstance(module, (torch.fx.GraphModule, torch.jit.ScriptModule))


def grafts_of(module: nn.Module) -> tuple[type, Unpack[tuple[Graft, ...]]]:
    """(original class, *grafts) of a module; its own class alone if nothing was done to it."""
    return vars(type(module)).get("grafted_from", (type(module),))


def _set(self: Any, name: str, value: Any) -> None:
    """Set an attribute as the original class would; where it is another forward of that class, attention stays."""
    base, *grafts = self.grafted_from
    # Not where somebody has put another subclass upon this one.
    is_ours = "grafted_from" in vars(type(self))
    if is_ours and name == "forward" and _is_other_forward(self, base, value):
        _exchange(self, base, value.__name__, grafts)
    else:
        base.__setattr__(self, name, value)


def _is_other_forward(module: nn.Module, base: type, value: object) -> bool:
    """Whether `value` is a method that `base` has besides its forward, bound to `module`."""
    if not isinstance(value, MethodType) or value.__self__ is not module or value.__name__ == "forward":
        return False
    return getattr(base, value.__name__, None) is value.__func__


def _exchange(module: nn.Module, base: type, name: str, grafts: list[Graft]) -> None:
    """Let the method called `name` be the forward of `module`, with attention where it is now."""
    kept = [Inside(graft.ground) if isinstance(graft, Forward) else graft for graft in grafts]
    module.__class__ = grafted(base, Instead(name), *(graft for graft in kept if not isinstance(graft, Instead)))


# How libraries call the methods that merge a module's layers, in place or into a module that they return.
MERGING = ("fuse", "fuse_convs", "reparameterize", "switch_to_deploy")


def _merging(name: str) -> Callable[..., Any]:
    """The method called `name`, which merges the layers of a module that has attention, and keeps the attention."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        base, *grafts = self.grafted_from
        if any(isinstance(graft, Forward | Inside) for graft in grafts):
            # Attention between its layers: it stays in parts, and computes what it did.
            return self
        gates = {key: child for key, child in child_table(self).items() if isinstance(child, Gate)}
        twin = shallow(self, base)
        for key in gates:
            del child_table(twin)[key]
        merged = getattr(twin, name)(*args, **kwargs)
        if isinstance(merged, nn.Module) and merged is not twin:
            return _continued(merged, grafts, gates) or self
        vars(self).clear()
        vars(self).update(vars(twin))
        vars(self)[CHILDREN] = {**child_table(twin), **gates}
        return self if merged is twin else merged

    method.__name__ = name
    return method


def _continued(module: nn.Module, grafts: list[Graft], gates: dict[str, Gate]) -> nn.Module | None:
    """`module` with the attention of the one that it was made of; None where that can't be."""
    if not takes_grafts(module) or any(hasattr(module, name) for name in gates):
        return None
    for name, gate in gates.items():
        module.add_module(name, gate)
    base, *inner = grafts_of(module)
    module.__class__ = grafted(base, *inner, *(graft for graft in grafts if not isinstance(graft, Instead)))
    return module


def forward_of(module: nn.Module) -> str | None:
    """The name of the method that somebody has chosen for the forward of a module with attention, if anybody has."""
    _, *grafts = grafts_of(module)
    return next((graft.name for graft in grafts if isinstance(graft, Instead)), None)


def _reduce(self: Any, protocol: int) -> tuple[Any, ...]:
    """Pickle and copy as the original class would, but through `revived`, which makes the subclass again."""
    base, *_ = self.grafted_from
    made = base.__reduce_ex__(self, protocol)
    return (revived, self.grafted_from, *made[2:])


def revived(base: type, *grafts: Graft) -> nn.Module:
    """An empty module of the grafted class; pickle fills in its state."""
    cls = grafted(base, *grafts)
    return cls.__new__(cls)
