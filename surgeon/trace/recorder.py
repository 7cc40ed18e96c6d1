"""What a model does with one example, written down: a Graph for every call of a module.

A skeleton of the model runs once on meta tensors (shapes without numbers), in eval mode and without gradients.
Watching a run rather than tracing symbolically means that every `if` took its real branch, that
every optional argument is the one that the caller really passes, and that shapes come for free;
it also takes milliseconds where a symbolic trace of each module takes seconds. torch.fx comes in
where a forward must be rewritten (`rewrite`), and its graph is then compared with this record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from surgeon.attention import Gate
from surgeon.outside.torch import plain_call, tree_leaves, version
from surgeon.trace.axes import channel_axis
from surgeon.trace.counting import Step, counted, of_input, unknown
from surgeon.trace.graph import Graph, Node, Value
from surgeon.trace.lines import line_of
from surgeon.trace.pixels import Axes
from surgeon.trace.shapes import result_of
from surgeon.trace.skeleton import listening


class Recorder(TorchFunctionMode):
    """Writes down every tensor operator and every call of a module while it is active.

    paths: the names of the modules. lines: whether each step is to know its line of source.
    hooks: whether the modules' hooks run. root: the first graph that was opened. graph: the one that is open now.
    """

    def __init__(self, paths: Mapping[nn.Module, str], *, lines: bool = False, hooks: bool = False) -> None:
        super().__init__()
        self.paths = paths
        self.lines = lines
        self.hooks = hooks
        self.root: Graph | None = None
        self.graph: Graph | None = None
        # By the identity of a tensor and its version; and the newest of each tensor.
        self.values: dict[tuple[int, int], Value] = {}
        self.latest: dict[int, Value] = {}
        self.kept: list[Tensor] = []

    def value(
        self, tensor: Tensor, axis: int | None = None, fixed: bool | None = None, counts: Axes | None = None
    ) -> Value:
        """The Value of `tensor` as it is now: an in-place operator makes a new one of the same object."""
        key = (id(tensor), version(tensor))
        if key not in self.values and id(tensor) in self.latest:
            # Written to through a view: another value now, of the same axes.
            before = self.latest[id(tensor)]
            axis, fixed = before.axis, False
            counts = before.counts if counts is None and before.shape == tensor.shape else counts
        if key not in self.values:
            # A tensor whose id is on record must stay alive, or Python gives its id to another.
            self.kept.append(tensor)
            is_fixed = self.root is not None and fixed is not False
            shape = tuple(tensor.shape)
            counts = unknown(shape) if counts is None else counts
            self.values[key] = Value(shape, tensor.dtype, axis, len(self.values), is_fixed, counts)
        self.latest[id(tensor)] = self.values[key]
        return self.values[key]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        op, told = plain_name(func), args
        if op == "get":
            op, told = _of_attribute(func.__self__.__name__, args)  # type: ignore[attr-defined]  # a descriptor's method
        if self.graph is None or op == "get":
            # Reading a shape is no step, and outside a graph (while one is opened) nothing is.
            return func(*args, **kwargs)
        tensors = _tensors(args, kwargs)
        inputs = [self.value(tensor) for tensor in tensors]
        versions = [version(tensor) for tensor in tensors]
        result = result_of(func, args, kwargs)
        returned = _tensors(result)
        written = [tensor for tensor, before in zip(tensors, versions) if version(tensor) != before]
        changed = [tensor for tensor in written if all(tensor is not other for other in returned)]
        if returned or changed:
            node = self._step(self.graph, op, told, kwargs, inputs, [*returned, *changed])
            node.in_place = bool(changed) or any(tensor is other for tensor in returned for other in tensors)
            self._add(node)
        return result

    def _step(
        self,
        graph: Graph,
        op: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[Value],
        results: Sequence[Tensor],
    ) -> Node:
        """The step of `graph` that an operator took."""
        fixed = all(value.fixed for value in inputs)
        shapes = [tuple(tensor.shape) for tensor in results]
        axes = (channel_axis(op, args, kwargs, inputs, shape) for shape in shapes)
        counts = counted(Step(op, args, kwargs, inputs, shapes)) if inputs else map(unknown, shapes)
        told = zip(results, axes, counts)
        outputs = [self.value(tensor, axis, fixed, there) for tensor, axis, there in told]
        leaves = list(_leaves(args, kwargs))
        constants = tuple(leaf for leaf in leaves if not isinstance(leaf, Tensor))
        weights = tuple(leaf.dim() for leaf in leaves if isinstance(leaf, nn.Parameter))
        return Node(op, graph, inputs, outputs, constants=constants, weights=weights)

    def _add(self, node: Node) -> None:
        node.graph.nodes.append(node)
        if self.lines:
            node.line = line_of(node.graph.module)
        for value in node.inputs:
            value.users.append(node)

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A module of the skeleton is called."""
        if self.graph is None:
            return plain_call(module, args, kwargs)
        return self.call_with_hooks(module, args, kwargs) if self.hooks else self.call(module, args, kwargs)

    def call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one module as a graph of its own, without its hooks."""
        return self._run(module, module.forward, args, kwargs)

    def call_with_hooks(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one module with its hooks around it; what they do is done by its caller."""
        attributes, forward = vars(module), module.forward
        own = {"forward": attributes["forward"]} if "forward" in attributes else {}

        def run(*args: Any, **kwargs: Any) -> Any:
            attributes.pop("forward")
            attributes.update(own)
            return self._run(module, forward, args, kwargs)

        attributes["forward"] = run
        try:
            return plain_call(module, args, kwargs)
        finally:
            attributes.pop("forward", None)
            attributes.update(own)

    def _run(
        self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        graph = self.start(module, args, kwargs)
        if isinstance(module, Gate):
            return self._attended(graph, module, args[0])
        try:
            result = forward(*args, **kwargs)
        except BaseException:
            self.graph = graph.parent
            raise
        return self.finish(graph, result)

    def _attended(self, graph: Graph, gate: Gate, x: Tensor) -> Any:
        """The result of a gate: a map like its input. What is inside is no part of the user's network."""
        caller, self.graph = self.graph, None
        result = x.clone() if gate.enabled else x
        self.graph = caller
        before = self.value(x)
        self.value(result, before.axis, before.fixed, before.counts)
        return self.finish(graph, result)

    def start(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
        """Open the graph of one call; it is the current one from now on."""
        # What the root is called with comes from outside; all else that no operator made is fixed.
        tensors = _tensors(args, kwargs)
        inputs = [self.value(tensor, _image_axis(tensor), counts=self._given(tensor)) for tensor in tensors]
        # Copied, since a forward may empty the list that it is called with.
        args, kwargs = tuple(map(_shallow, args)), {name: _shallow(value) for name, value in kwargs.items()}
        graph = Graph(self.paths.get(module, "?"), module, None, args, kwargs, inputs=inputs)
        self.root = self.root or graph
        if self.graph is not None:
            graph.caller = Node("call", self.graph, inputs, [], child=graph)
            self._add(graph.caller)
        self.graph = graph
        return graph

    def _given(self, tensor: Tensor) -> Axes:
        """What the axes of something count that no operator made; what the network is given may be an image."""
        shape = tuple(tensor.shape)
        return of_input(shape) if self.root is None else unknown(shape)

    def finish(self, graph: Graph, result: Any) -> Any:
        """Close the graph of one call with what it returned."""
        graph.result = result
        graph.outputs = [self.value(tensor) for tensor in _tensors(result)]
        if graph.caller is not None:
            graph.caller.outputs = graph.outputs
        graph.finished = True
        self.graph = graph.parent
        return result


def plain_name(function: Any) -> str:
    """The operator's name without the marks of its spelling: `__iadd__`, `add_`, `__radd__` are `add`.

    >>> plain_name(torch.Tensor.__radd__), plain_name(torch.relu_)
    ('add', 'relu')
    """
    name = getattr(function, "__name__", str(function))
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        spelled = name[1:]
        return spelled if name[0] in "ir" and spelled in _ARITHMETIC else name
    return name.rstrip("_") or name


def _of_attribute(name: str, args: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The operator that reading an attribute of a tensor stands for, and its arguments; `get` for other things."""
    if name in ("T", "mT", "H", "mH"):
        return "transpose", (*args[:1], -2, -1)
    return ("data" if name == "data" else "get"), args


_ARITHMETIC = {"add", "sub", "mul", "truediv", "floordiv", "matmul", "pow"}


def observe(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    paths: Mapping[nn.Module, str] | None = None,
    lines: bool = False,
    hooks: bool = False,
) -> tuple[Graph, Exception | None]:
    """Run `model`, a skeleton or a module of one, on tensors as they are, and return the Graph of the whole.

    With `lines`, each step knows the line of the model's own code that took it; with `hooks`, hooks run as well.

    The graph is returned even when the run stops half-way, with the error: `graph, error`. What had
    finished by then (a detector's backbone) is complete.
    """
    recorder = Recorder(paths or {module: path for path, module in model.named_modules()}, lines=lines, hooks=hooks)
    call = recorder.call_with_hooks if hooks else recorder.call
    error = None
    with listening(model, recorder), torch.no_grad(), recorder:
        try:
            # A forward may change the list that it is called with.
            call(model, tuple(map(_shallow, args)), {name: _shallow(value) for name, value in (kwargs or {}).items()})
        except Exception as raised:  # any model's own code may raise anything; the caller tells the user
            error = raised
    # Where the arguments themselves can't be recorded, no graph was opened.
    return recorder.root or Graph("", model), error


def _image_axis(tensor: Tensor) -> int | None:
    return 1 if tensor.dim() in (4, 5) else None


def _shallow(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict) else value


def _tensors(*trees: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(*trees) if isinstance(leaf, Tensor)]


def _leaves(*trees: Any) -> Iterator[Any]:
    """All leaves; the common case, a flat tuple of tensors, without pytree's machinery."""
    for tree in trees:
        for item in _items(tree):
            if isinstance(item, Tensor):
                yield item
            elif isinstance(item, (tuple, list, dict)):
                yield from tree_leaves(item)
            else:
                yield item


def _items(tree: Any) -> Iterable[Any]:
    if type(tree) is dict:
        return tree.values()
    return tree if type(tree) in (tuple, list) else (tree,)
