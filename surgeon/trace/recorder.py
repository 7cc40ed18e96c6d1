"""What a model does with one example, written down: a Graph for every call of a module.

A skeleton of the model runs once on meta tensors (shapes without numbers), in eval mode and without gradients.
Watching a run rather than tracing symbolically means that every `if` took its real branch, that
every optional argument is the one that the caller really passes, and that shapes come for free;
it also takes milliseconds where a symbolic trace of each module takes seconds. torch.fx comes in
where a forward must be rewritten (`rewrite`), and its graph is then held against this record.
"""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from surgeon.attention import Gate
from surgeon.trace.axes import channel_axis
from surgeon.trace.graph import Graph, Node, Value
from surgeon.trace.lines import line_of
from surgeon.trace.shapes import result_of
from surgeon.trace.skeleton import listening


class Recorder(TorchFunctionMode):
    """Writes down every tensor operator and every call of a module while it is active."""

    def __init__(self, paths, *, lines=False, hooks=False):
        super().__init__()
        self.paths = paths
        self.lines = lines
        self.hooks = hooks
        self.values, self.latest = {}, {}
        self.kept = []
        self.root = None
        self.graph = None

    def value(self, tensor, axis=None, fixed=None):
        """The Value of `tensor` as it is now: an in-place operator makes a new one of the same object."""
        key = (id(tensor), tensor._version)
        if key not in self.values and id(tensor) in self.latest:
            # Written to through a view: another value now, of the same axes.
            axis, fixed = self.latest[id(tensor)].axis, False
        if key not in self.values:
            # A tensor whose id is on record must stay alive, or Python gives its id to another.
            self.kept.append(tensor)
            is_fixed = self.root is not None and fixed is not False
            self.values[key] = Value(tuple(tensor.shape), tensor.dtype, axis, len(self.values), is_fixed)
        self.latest[id(tensor)] = self.values[key]
        return self.values[key]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.graph is None or getattr(function, "__name__", "") == "__get__":
            # Reading a shape is no step, and outside a graph (while one is opened) nothing is.
            return function(*args, **kwargs)
        tensors = [leaf for leaf in _leaves(args, kwargs) if isinstance(leaf, torch.Tensor)]
        inputs = [self.value(tensor) for tensor in tensors]
        versions = [tensor._version for tensor in tensors]
        result = result_of(function, args, kwargs)
        made = [leaf for leaf in _leaves(result) if isinstance(leaf, torch.Tensor)]
        changed = [t for t, version in zip(tensors, versions) if t._version != version and all(t is not m for m in made)]
        if made or changed:
            self._note(function, args, kwargs, tensors, inputs, made, changed)
        return result

    def _note(self, function, args, kwargs, tensors, inputs, made, changed):
        op = plain_name(function)
        fixed = all(value.fixed for value in inputs)
        outputs = []
        for tensor in [*made, *changed]:
            axis = channel_axis(op, args, kwargs, inputs, tuple(tensor.shape))
            outputs.append(self.value(tensor, axis, fixed))
        constants = tuple(leaf for leaf in _leaves(args, kwargs) if not isinstance(leaf, torch.Tensor))
        weights = tuple(t.dim() for t in tensors if isinstance(t, nn.Parameter))
        in_place = any(m is t for m in made for t in tensors) or bool(changed)
        self._add(Node(op, self.graph, inputs, outputs, constants=constants, weights=weights, in_place=in_place))

    def _add(self, node):
        self.graph.nodes.append(node)
        if self.lines:
            node.line = line_of(self.graph.module)
        for value in node.inputs:
            value.users.append(node)

    def called(self, module, args, kwargs):
        """A module of the skeleton is called."""
        if self.graph is None:
            return module._call_impl(*args, **kwargs)
        return self.call_with_hooks(module, args, kwargs) if self.hooks else self.call(module, args, kwargs)

    def call(self, module, args, kwargs):
        """Run one module as a graph of its own, without its hooks."""
        return self._run(module, module.forward, args, kwargs)

    def call_with_hooks(self, module, args, kwargs):
        """Run one module with its hooks around it; what they do is done by its caller."""
        attributes, forward = vars(module), module.forward
        own = {"forward": attributes["forward"]} if "forward" in attributes else {}

        def run(*args, **kwargs):
            attributes.pop("forward")
            attributes.update(own)
            return self._run(module, forward, args, kwargs)

        attributes["forward"] = run
        try:
            return module._call_impl(*args, **kwargs)
        finally:
            attributes.pop("forward", None)
            attributes.update(own)

    def _run(self, module, forward, args, kwargs):
        graph = self.start(module, args, kwargs)
        if isinstance(module, Gate):
            return self._attended(graph, args[0])
        try:
            result = forward(*args, **kwargs)
        except BaseException:
            self.graph = graph.parent
            raise
        return self.finish(graph, result)

    def _attended(self, graph, x):
        """The result of a gate: a map like its input. What is inside is no part of the user's network."""
        caller, self.graph = self.graph, None
        result = x.clone() if graph.module.enabled else x
        self.graph = caller
        before = self.value(x)
        self.value(result, before.axis, before.fixed)
        return self.finish(graph, result)

    def start(self, module, args, kwargs):
        """Open the graph of one call; it is the current one from now on."""
        # What the root is given comes from outside; all else that no operator made is fixed.
        inputs = [self.value(leaf, _image_axis(leaf)) for leaf in _leaves(args, kwargs) if isinstance(leaf, torch.Tensor)]
        # Copied, since a forward may empty the list that it is given.
        args, kwargs = tuple(map(_shallow, args)), {name: _shallow(value) for name, value in kwargs.items()}
        graph = Graph(self.paths.get(module, "?"), module, None, args, kwargs, inputs=inputs)
        self.root = self.root or graph
        if self.graph is not None:
            graph.caller = Node("call", self.graph, inputs, [], child=graph)
            self._add(graph.caller)
        self.graph = graph
        return graph

    def finish(self, graph, result):
        """Close the graph of one call with what it returned."""
        graph.result = result
        graph.outputs = [self.value(leaf) for leaf in _leaves(result) if isinstance(leaf, torch.Tensor)]
        if graph.caller is not None:
            graph.caller.outputs = graph.outputs
        graph.finished = True
        self.graph = graph.parent
        return result


def plain_name(function):
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


_ARITHMETIC = {"add", "sub", "mul", "truediv", "floordiv", "matmul", "pow"}


def observe(model, args, kwargs=None, *, paths=None, lines=False, hooks=False):
    """Run `model`, a skeleton or a module of one, on tensors as they are, and return the Graph of the whole.

    With `lines`, each step knows the line of the model's own code that took it; with `hooks`, those of the skeleton run.

    The graph is returned even when the run stops half-way, with the error: `graph, error`. What had
    finished by then (a detector's backbone) is complete.
    """
    recorder = Recorder(paths or {module: path for path, module in model.named_modules()}, lines=lines, hooks=hooks)
    call = recorder.call_with_hooks if hooks else recorder.call
    with listening(model, recorder), torch.no_grad(), recorder:
        try:
            call(model, tuple(args), dict(kwargs or {}))
            error = None
        except Exception as stop:  # any model's own code may raise anything; the caller tells the user
            error = stop
    return recorder.root, error


def _image_axis(tensor):
    return 1 if tensor.dim() in (4, 5) else None


def _shallow(value):
    return value.copy() if type(value) in (list, dict) else value


def _leaves(*trees):
    """All leaves; the common case, a flat tuple of tensors, without pytree's machinery."""
    for tree in trees:
        items = tree.values() if type(tree) is dict else tree if type(tree) in (tuple, list) else (tree,)
        for item in items:
            if isinstance(item, torch.Tensor):
                yield item
            elif isinstance(item, (tuple, list, dict)):
                yield from tree_leaves(item)
            else:
                yield item
