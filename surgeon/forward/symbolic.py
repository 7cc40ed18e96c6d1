"""A symbolic trace of one forward by torch.fx, with its children as leaves; nothing that would freeze a moment.

What the forward was given when it was observed says what may change from call to call: tensors and
sizes become proxies, a None or a flag stays what it was, and the rewritten forward insists on it.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import MethodType
from typing import Any

import torch
from torch import fx, nn

from surgeon.errors import Untraceable
from surgeon.forward.chance import no_chance
from surgeon.forward.guards import Guard
from surgeon.forward.leaves import scoped
from surgeon.forward.reads import Fact, watched
from surgeon.forward.subclass import NO_GRAFTS, names_read, takes_grafts
from surgeon.outside.torch import CONSTANT, buffer_table, parameter_table, tree_leaves
from surgeon.trace.graph import Graph
from surgeon.trace.skeleton import listening
from surgeon.trace.state import in_mode, preserved


class Shallow(fx.Tracer):
    """A tracer for one forward of a skeleton's module: every child is a leaf, in-place operators stay in place.

    `fx.Tracer.trace` patches nn.Module, and functions by their names, for the whole process; here the skeleton's
    own instances say when they are called, and hold proxies for their weights.
    """

    def __init__(self, record: Graph) -> None:
        super().__init__(param_shapes_constant=True)
        self.record = record
        self.lists: list[tuple[list[Any], list[Any]]] = []
        self.guards: list[Guard] = []
        self.facts: list[Fact] = []

    def follow(self, module: nn.Module) -> fx.Graph:
        """The forward of `module` as a graph, run once on proxies."""
        self.root, self.root_module_name = module, type(module).__name__
        self.submodule_paths = {inner: path for path, inner in module.named_modules()}
        self.graph = fx.Graph(tracer_cls=type(self))
        self.tensor_attrs = {held: name for name, held in _plain_tensors(module)}
        # To mypy a callable; `scoped` needs a function of Python's, and what else there is can't be traced.
        function: Any = type(module).forward
        args, kwargs = _arguments(self, function, self.record)
        with listening(module, self):
            with watched(module) as self.facts:
                result = scoped(function)(module, *args, **kwargs)
            self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.call_module(module, module.forward, args, kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def proxy(self, node: fx.Node) -> InPlace:
        return InPlace(node, self)


def _plain_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """(dotted name, tensor) of all that are neither weights nor buffers."""
    for path, inner in module.named_modules():
        for name, held in vars(inner).items():
            if isinstance(held, torch.Tensor):
                yield f"{path}.{name}".lstrip("."), held


class Weight(fx.proxy.ParameterProxy):
    """A weight or a buffer, a node from its first use on.

    Its shape is known, its numbers, device and dtype are those of each call.
    """

    def __init__(self, tracer: Shallow, name: str, tensor: torch.Tensor) -> None:
        self.tracer, self.name = tracer, name
        self.param = tensor  # type: ignore[assignment]  # asked for its shape only, which a buffer has as well

    @cached_property
    def node(self) -> fx.Node:  # type: ignore[override]  # nobody sets it; made when it is first asked for
        return self.tracer.create_node("get_attr", self.name, (), {})


def _hold_stand_ins(tracer: Shallow, module: nn.Module) -> None:
    """Put proxies for weights, and methods that take proxies, where Python looks first: on the instances."""
    # As a `type[Module]` it would not be hashable to mypy.
    kind: type = type(module)
    for name in names_read(kind, theirs=False):
        method = inspect.getattr_static(kind, name, None)
        if inspect.isfunction(method) and scoped(method) is not method:
            vars(module)[name] = MethodType(scoped(method), module)
    proxies: dict[int, Weight] = {}
    for path, inner in module.named_modules():
        for name, tensor in (*parameter_table(inner).items(), *buffer_table(inner).items()):
            if tensor is not None:
                weight = Weight(tracer, f"{path}.{name}".lstrip("."), tensor)
                vars(inner)[name] = proxies.setdefault(id(tensor), weight)


class InPlace(fx.Proxy):
    """A proxy that keeps `out += shortcut` what it is; fx would make it `out + shortcut`, a map more."""


def _in_place(name: str) -> Callable[[InPlace, Any], fx.Proxy]:
    function = getattr(operator, name)

    def method(self: InPlace, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(InPlace, f"__{_name}__", _in_place(_name))


class Given(InPlace):
    """A tensor that the forward is handed: an `if` may ask how many axes it has; each call then has to have as many."""

    def __init__(self, node: fx.Node, tracer: Shallow, name: str, axes: int) -> None:
        super().__init__(node, tracer)
        self._guards, self._axes = tracer.guards, Guard("has_axes", name, str(axes))

    def dim(self) -> int:
        if self._axes not in self._guards:
            self._guards.append(self._axes)
        return int(self._axes.observed)

    @property
    def ndim(self) -> int:
        return self.dim()

    @property
    def shape(self) -> Shape:
        node = self.tracer.create_node("call_function", getattr, (self.node, "shape"), {})
        return Shape(node, self)


class Shape(InPlace):
    """The sizes of a Given; how many there are is known."""

    def __init__(self, node: fx.Node, given: Given) -> None:
        super().__init__(node, given.tracer)
        self._given = given

    def __len__(self) -> int:
        return self._given.dim()


@dataclass(frozen=True)
class Trace:
    """A forward as an fx graph not verified yet, what it asks of each call, and what it takes for granted."""

    graph: fx.Graph
    guards: tuple[Guard, ...]
    facts: tuple[Fact, ...]


def traced(record: Graph, *, training: bool) -> Trace:
    """The forward of `record`'s module in one mode.

    Raises:
        Untraceable: with the line of the forward that stopped the trace.
    """
    module = record.module
    if not takes_grafts(module):
        raise Untraceable(f"{record.path or 'the model'}: {NO_GRAFTS}.")
    tracer = Shallow(record)
    with preserved(module), in_mode(module, training):
        _hold_stand_ins(tracer, module)
        before = dict(vars(module))
        try:
            with no_chance(record):
                graph = tracer.follow(module)
            _refuse_frozen(graph, record)
            _refuse_changes(tracer, before, module)
            return Trace(graph, tuple(tracer.guards), tuple(tracer.facts))
        except Untraceable:
            raise
        except Exception as error:  # fx and the model's own code raise anything at all
            raise Untraceable(f"{record.path}: {_line(module, error)}: {first_line(error)}") from error


def _refuse_frozen(graph: fx.Graph, record: Graph) -> None:
    """Refuse what holds at this moment only: a tensor that the forward makes itself, the device of a weight."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target.startswith(CONSTANT):
            raise Untraceable(f"{record.path}: its forward makes a tensor that the trace would freeze.")
        if any(isinstance(leaf, torch.device) for leaf in tree_leaves((node.args, node.kwargs))):
            frozen = f"its device, which the trace would freeze (at {node.name!r})"
            raise Untraceable(f"{record.path}: its forward asks a weight for {frozen}.")


def _refuse_changes(tracer: Shallow, before: dict[str, Any], module: nn.Module) -> None:
    """Refuse a forward that changes more than it returns: an attribute, or the list that it is given."""
    others = ((name, value) for name, value in vars(module).items() if name != "training")
    changed = next((name for name, value in others if before.get(name, module) is not value), None)
    if changed:
        raise Untraceable(f"{tracer.record.path}: its forward sets self.{changed}, which a rewritten one would not.")
    if any(list(map(id, now)) != list(map(id, then)) for now, then in tracer.lists):
        reason = "its forward changes the list that it is given, which a rewritten one would not"
        raise Untraceable(f"{tracer.record.path}: {reason}.")


def _line(module: nn.Module, error: Exception) -> str:
    """File, number and text of the last line of the model's own code on the traceback."""
    forwards = (vars(base).get("forward") for base in type(module).__mro__)
    files = {forward.__code__.co_filename for forward in forwards if inspect.isfunction(forward)}
    files = {file for file in files if "/torch/nn/" not in file}
    traceback = error.__traceback__
    inner = inspect.getinnerframes(traceback) if traceback else []
    frames = [frame for frame in inner if frame.filename in files]
    if not frames:
        return f"the forward of {type(module).__name__} can't be traced"
    frame = frames[-1]
    text = frame.code_context[0].strip() if frame.code_context else ""
    return f"{frame.filename}:{frame.lineno} stops the trace at `{text}`"


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _arguments(tracer: Shallow, function: Callable[..., Any], record: Graph) -> tuple[list[Any], dict[str, Any]]:
    """Proxies for what was a tensor in the observed call, the very value for all else.

    A value that was frozen so (None, a flag) is asked for by the rewritten forward at each call.
    """
    signature = inspect.signature(function)
    bound = signature.bind(record.module, *record.args, **record.kwargs)
    parameters = list(signature.parameters.values())[1:]
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    given: list[tuple[inspect.Parameter, fx.Proxy, Any]] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if bound.arguments.get(parameter.name):
                free = f"free arguments *{parameter.name}"
                raise Untraceable(f"{record.path}: called with {free}, which can't be rewritten.")
            continue
        proxy = tracer.create_proxy("placeholder", parameter.name, _default(parameter), {})
        value = bound.arguments.get(parameter.name, parameter.default)
        given.append((parameter, proxy, value))
    for parameter, proxy, value in given:
        stand_in = _stand_in(tracer, record, parameter.name, proxy, value)
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = stand_in
        else:
            args.append(stand_in)
    return args, kwargs


def _default(parameter: inspect.Parameter) -> tuple[Any, ...]:
    return () if parameter.default is parameter.empty else (parameter.default,)


def _stand_in(tracer: Shallow, record: Graph, name: str, proxy: fx.Proxy, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return Given(proxy.node, tracer, name, value.dim())
    if isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
        tracer.guards.append(Guard("as_many", name, str(len(value))))
        items = [_stand_in(tracer, record, f"{name}[{i}]", _item(proxy, i), item) for i, item in enumerate(value)]
        tracer.lists.append((items, items.copy()))
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (tuple, list)) and value and all(type(item) is int for item in tree_leaves(value)):
        return _numbers(value, proxy)
    if type(value) is int:
        return proxy
    if value is None or type(value) in (bool, float, str):
        tracer.guards.append(Guard("same", name, repr(value)))
        return value
    raise Untraceable(f"{record.path}: its argument {name!r} is a {type(value).__name__}, which can't be rewritten.")


def _item(proxy: fx.Proxy, index: int) -> fx.Proxy:
    return proxy[index]  # type: ignore[index]  # fx gives its proxies their operators in a loop


def _numbers(value: Any, proxy: fx.Proxy) -> Any:
    """Sizes, which may be others at the next call, in lists as deep as observed."""
    if type(value) is int:
        return proxy
    # A torch.Size is a tuple that takes numbers only, and no proxies.
    kind = list if isinstance(value, list) else tuple
    return kind(_numbers(item, _item(proxy, index)) for index, item in enumerate(value))
