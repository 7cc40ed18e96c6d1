"""Twins: the deep copies of a model's parts, that refer to one another and never back to the model.

Made as `copy.deepcopy` makes copies, with three differences. A tensor's twin has no numbers; what can't be
copied is shared as it is; and what deepcopy leaves as it is gets a twin as well: functions with what they close
over, bound methods, weak references and handles of hooks. A hook that collects into a list collects into
the list's twin.
"""

from __future__ import annotations

import copy
import functools
import sys
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from surgeon.outside.torch import buffer_table, parameter_table

# Values without a part that could change.
_PLAIN = frozenset({
    *(int, float, complex, bool, str, bytes, NoneType, type, range, slice, ModuleType, BuiltinFunctionType),
    *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
})  # fmt: skip
# A table that is read for its numbers (a scale, anchors); what is larger only lends its shape.
_SMALL = 2**16
# A collection of that many things is data, not a part of a network.
_MANY = 1000
# Objects that hold objects that hold objects: further in lies no part of a network, but a trainer with its data.
_DEEP = 3

Maker = Callable[["Twins", Any], Any]


class Twins:
    """The deep copies made so far (`twins(value)` gives that of a value): each thing has one, whoever holds it.

    numbers: weights are shared as they are, all other tensors copied with their numbers.
    modules: the twins that are modules.
    """

    def __init__(self, numbers: bool) -> None:
        self.numbers = numbers
        self.modules: list[nn.Module] = []
        self._known: dict[int, Any] = {}
        self._alive: list[Any] = []
        self._depth = 0

    def of_model(self, model: nn.Module) -> Any:
        """The twin of a whole model. All its modules get theirs before any is filled, so that nothing nests deeply."""
        modules = list(model.modules())
        for module in modules:
            self._empty(module)
            for tensor in (*parameter_table(module).values(), *buffer_table(module).values()):
                if tensor is not None and id(tensor) not in self._known:
                    self._remember(tensor, self._registered(tensor))
        for module in modules:
            self._fill(module)
        return self(model)

    def __call__(self, value: Any) -> Any:
        """The twin of any value; the value itself where it has no part that could change."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        twin = self._known.get(id(value))
        if twin is not None:
            return twin
        return _maker(value)(self, value)

    def let_go(self) -> None:
        """Hold the twins alone, and no longer what they were made of: who holds a model's weights is asked for."""
        self._alive = list(self._known.values())
        self._known.clear()

    def _remember(self, value: Any, twin: Any) -> Any:
        # Kept alive, or Python gives its id to another.
        self._alive.append(value)
        self._known[id(value)] = twin
        return twin

    # Modules and tensors

    def _empty(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            self._scripted(module)
        else:
            self.modules.append(self._remember(module, object.__new__(type(module))))

    def _scripted(self, module: torch.jit.ScriptModule) -> None:
        """Copied whole, since a scripted module lives in C++ and gives no part of it away."""
        if id(module) in self._known:
            return
        copied = copy.deepcopy(module).eval()
        for inner, twin in zip(module.modules(), copied.modules()):
            self.modules.append(self._remember(inner, twin))
            stores: tuple[dict[str, Any], ...] = () if self.numbers else (parameter_table(twin), buffer_table(twin))
            for store in stores:
                for name, tensor in list(store.items()):
                    store[name] = _on_meta(tensor)

    def _fill(self, module: nn.Module) -> None:
        twin = self._known[id(module)]
        if not isinstance(module, torch.jit.ScriptModule):
            vars(twin).update((name, self(value)) for name, value in list(vars(module).items()))

    def _module(self, module: nn.Module) -> Any:
        """A module that is held outside of the tree, in a list or by an object."""
        depth, self._depth = self._depth, 0
        self._empty(module)
        self._fill(module)
        self._depth = depth
        return self._known[id(module)]

    def _registered(self, tensor: torch.Tensor) -> torch.Tensor:
        """The twin of a weight or a buffer."""
        if not self.numbers:
            return _on_meta(tensor)
        return tensor if isinstance(tensor, nn.Parameter) else tensor.detach().clone()

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        is_table = not isinstance(tensor, nn.Parameter) and tensor.numel() <= _SMALL
        twin = tensor.detach().clone() if is_table and not self.numbers else self._registered(tensor)
        return self._remember(tensor, twin)

    # Collections

    def _list(self, value: list[Any]) -> list[Any]:
        twin: list[Any] = self._remember(value, [])
        twin.extend(value if len(value) > _MANY else map(self, value.copy()))
        return twin

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        empty = defaultdict(self(value.default_factory)) if isinstance(value, defaultdict) else type(value)()
        twin: dict[Any, Any] = self._remember(value, empty)
        if value:
            twin.update(value if len(value) > _MANY else {self(key): self(held) for key, held in list(value.items())})
        return twin

    def _set(self, value: set[Any]) -> set[Any]:
        twin: set[Any] = self._remember(value, set())
        twin.update(value if len(value) > _MANY else map(self, value.copy()))
        return twin

    def _deque(self, value: deque[Any]) -> deque[Any]:
        twin: deque[Any] = self._remember(value, deque(maxlen=value.maxlen))
        twin.extend(map(self, value.copy()))
        return twin

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        items = value if len(value) > _MANY else tuple(map(self, value))
        if all(item is held for item, held in zip(items, value)):
            return value
        return self._remember(value, value._make(items) if hasattr(value, "_make") else type(value)(items))

    def _other_dict(self, value: dict[Any, Any]) -> Any:
        """A dict of somebody's own class: as that class copies it, with twins put in their places."""
        twin = self._remember(value, copy.copy(value))
        if isinstance(twin, dict):
            changes = {key: self(held) for key, held in list(dict.items(value))} if len(value) <= _MANY else {}
            for key, held in changes.items():
                dict.__setitem__(twin, key, held)
        return twin

    # Functions, and what refers to others

    def _method(self, value: MethodType) -> MethodType:
        owner, function = self(value.__self__), self(value.__func__)
        return value if owner is value.__self__ and function is value.__func__ else MethodType(function, owner)

    def _partial(self, value: functools.partial[Any]) -> functools.partial[Any]:
        keywords = {name: self(held) for name, held in value.keywords.items()}
        return self._remember(value, type(value)(self(value.func), *map(self, value.args), **keywords))

    def _cached(self, value: Any) -> Any:
        """A method behind an lru_cache of the instance's own."""
        inner = self(value.__wrapped__)
        if inner is value.__wrapped__:
            return value
        return self._remember(value, functools.lru_cache(**value.cache_parameters())(inner))

    def _function(self, value: FunctionType) -> FunctionType:
        """A function that closes over things: its twin closes over their twins, and never reaches the model."""
        if _is_importable(value) or not _refers_to_things(value):
            return value
        cells = [cell for cell in value.__closure__ or () if id(cell) not in self._known]
        for cell in cells:
            self._remember(cell, CellType())
        closure = tuple(self._known[id(cell)] for cell in value.__closure__ or ())
        twin = FunctionType(value.__code__, value.__globals__, value.__name__, None, closure)
        self._remember(value, twin)
        self._fill_function(value, twin)
        for cell in cells:
            with suppress(ValueError):  # empty, of a name that is not set yet
                self._known[id(cell)].cell_contents = self(cell.cell_contents)
        return twin

    def _fill_function(self, value: FunctionType, twin: FunctionType) -> None:
        """Give `twin` the names, defaults and attributes of a function."""
        functools.update_wrapper(twin, value, updated=())
        vars(twin).pop("__wrapped__", None)
        twin.__defaults__, twin.__kwdefaults__ = self(value.__defaults__), self(value.__kwdefaults__)
        vars(twin).update((name, self(held)) for name, held in vars(value).items())

    def _weak(self, value: weakref.ref[Any]) -> Any:
        twin = self._known.get(id(value()))
        return value if twin is None else weakref.ref(twin)

    def _weak_proxy(self, value: Any) -> Any:
        try:
            twin = self._known.get(id(value.__repr__.__self__))
        except ReferenceError:
            return value
        return value if twin is None else weakref.proxy(twin)

    def _handle(self, value: RemovableHandle) -> RemovableHandle:
        """A hook's handle: `remove()` takes the twin's hook away."""
        hooks = value.hooks_dict_ref()
        if hooks is None:
            return value
        twin = self._remember(value, object.__new__(RemovableHandle))
        twin.id, twin.hooks_dict_ref = value.id, weakref.ref(self(hooks))
        more: Iterator[Any] = (ref() for ref in value.extra_dict_ref)
        twin.extra_dict_ref = tuple(weakref.ref(self(held)) for held in more if held is not None)
        return twin

    def _object(self, value: Any) -> Any:
        """An object of some class: shared if nothing in it has a twin, or if it is not the model's own."""
        if self._depth == _DEEP or not _may_be_a_models(type(value)):
            return value
        try:
            state, twin = vars(value), object.__new__(type(value))
        except TypeError:  # it has no attributes, or is built on something that only its own class can make
            return value
        self._depth += 1
        self._remember(value, twin)
        vars(twin).update((name, self(held)) for name, held in list(state.items()))
        self._depth -= 1
        if all(vars(twin)[name] is held for name, held in state.items()):
            return self._remember(value, value)
        return twin


def _is_importable(function: FunctionType) -> bool:
    """True for what belongs to no model, such as `F.max_pool2d`, which closes over the functions it chooses from."""
    return getattr(sys.modules.get(function.__module__ or ""), function.__name__, None) is function


def _refers_to_things(function: FunctionType) -> bool:
    return bool(function.__closure__ or function.__defaults__ or function.__kwdefaults__ or vars(function))


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, requires_grad=False) if isinstance(tensor, nn.Parameter) else twin


# Objects of classes from here are shared as they are. What a script itself defines lies in `__main__`.
_ELSEWHERE = frozenset({*sys.stdlib_module_names, "torch", "numpy"}) - {"__main__"}


def _may_be_a_models(kind: type) -> bool:
    """True for classes of models and their helpers.

    Not for Python's and torch's, and not for those that act when they are deleted or keep attributes in slots.
    """
    if kind.__module__.partition(".")[0] in _ELSEWHERE or issubclass(kind, (type, Enum)):
        return False
    return not hasattr(kind, "__del__") and not any(vars(base).get("__slots__") for base in kind.__mro__)


def _maker(value: Any) -> Maker:
    """What makes the twin of such a value."""
    make = _BY_TYPE.get(type(value))
    if make is not None:
        return make
    return next((make for base, make in _BY_BASE if isinstance(value, base)), Twins._object)


_BY_TYPE: dict[type, Maker] = {
    list: Twins._list,
    dict: Twins._dict,
    OrderedDict: Twins._dict,
    defaultdict: Twins._dict,
    set: Twins._set,
    tuple: Twins._tuple,
    deque: Twins._deque,
    torch.Tensor: Twins._tensor,
    nn.Parameter: Twins._tensor,
    FunctionType: Twins._function,
    MethodType: Twins._method,
    functools.partial: Twins._partial,
    functools._lru_cache_wrapper: Twins._cached,
    weakref.ref: Twins._weak,
    weakref.ProxyType: Twins._weak_proxy,
    weakref.CallableProxyType: Twins._weak_proxy,
    RemovableHandle: Twins._handle,
}
_BY_BASE: tuple[tuple[type, Maker], ...] = (
    (nn.Module, Twins._module),
    (torch.Tensor, Twins._tensor),
    (dict, Twins._other_dict),
    (tuple, Twins._tuple),
)
