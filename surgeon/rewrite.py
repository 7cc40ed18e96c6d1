"""A module's forward as a torch.fx graph that may be edited, held against what the module really did.

Only modules whose forward must change are traced, each alone, with its children as leaves. A
symbolic trace can go wrong in silence (it takes the wrong branch of `if mask is not None`, it
freezes `self.training`), so none is believed: the graph is run on the observed arguments, and its
steps must be the steps on record, one by one.
"""

import inspect
import operator
from dataclasses import dataclass
from functools import cache

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves, tree_structure

from surgeon.errors import Untraceable
from surgeon.expect import expect, expect_items
from surgeon.graft import NO_GRAFTS, takes_grafts
from surgeon.trace import Recorder, in_mode, observe, watched


@dataclass(frozen=True)
class Rewritable:
    """The forward of one module in both modes; `evaluate is train` where they are the same.

    names: for each value on record, in eval mode, the name of the fx node that gives it as a tensor of its own.
    """

    evaluate: fx.Graph
    train: fx.Graph
    names: dict

    def name_of(self, value):
        """The fx node that gives a recorded value.

        Raises:
            Untraceable: no node, or several.
        """
        if value not in self.names:
            raise Untraceable("a map that is one of several results can't be told from the others in the rewritten forward.")
        return self.names[value]

    @property
    def text(self):
        """Both graphs as source text."""
        return _code(self.evaluate), _code(self.train)


def rewritable(record):
    """The forward of `record`'s module as verified fx graphs.

    Args:
        record: the Graph of one call of it, on meta, in eval mode.

    Raises:
        Untraceable: with the line of the forward that stopped the trace, or the first step at
            which the trace and the record differ.
    """
    module = record.module
    evaluate = _trace(module, record, training=False)
    names = _align(evaluate, record)
    if "training" not in _names(type(module)):
        return Rewritable(evaluate, evaluate, names)
    train = _trace(module, record, training=True)
    if _code(train) == _code(evaluate):
        return Rewritable(evaluate, evaluate, names)
    with in_mode(module, True):
        lesson, error = observe(module, record.args, record.kwargs, paths={})
        if error is not None:
            raise Untraceable(f"{record.path}: does not run in train mode: {error}") from error
        _align(train, lesson)
    return Rewritable(evaluate, train, names)


def twin(known, old, new):
    """What is known of the forward of one block, for another that did the same; None if it did something else.

    Networks repeat their blocks; each kind is traced once.

    Args:
        known: the Rewritable of `old`. old, new: recorded calls of two modules of one `likeness`.
    """
    if _pattern(old) != _pattern(new):
        return None
    partner = {}
    for mine, other in zip(old.nodes, new.nodes):
        partner.update(zip((*mine.inputs, *mine.outputs), (*other.inputs, *other.outputs)))
    names = {partner[value]: name for value, name in known.names.items() if value in partner}
    return Rewritable(known.evaluate, known.train, names) if len(names) == len(known.names) else None


def likeness(record):
    """All that a trace can depend on: classes, the settings that its code names, and the kind of each argument."""
    names = _names(type(record.module)) - {"training"}
    settings = tuple((path, type(module), _settings(module, names)) for path, module in record.module.named_modules())
    kinds = (leaf if leaf is None or isinstance(leaf, (bool, str, float)) else type(leaf) for leaf in tree_leaves((record.args, record.kwargs)))
    return settings, tuple(kinds), tree_structure((record.args, record.kwargs))


def _settings(module, names):
    """What the attributes called so hold, as far as it is plain; which children and weights are None."""
    held = vars(module)
    plain = tuple((name, str(held[name])) for name in names & held.keys() if not isinstance(held[name], (dict, torch.Tensor)))
    missing = tuple(key for key, value in (*module._parameters.items(), *module._modules.items()) if value is None)
    return plain, missing


@cache
def _names(cls):
    """All names that the methods of a class mention, and the functions that these call, and so on."""
    left = [f for base in cls.__mro__ if _is_foreign(base) for f in vars(base).values() if inspect.isfunction(f)]
    seen, names = set(), set()
    while left:
        function = left.pop()
        seen.add(function)
        codes = [function.__code__]
        for code in codes:
            names.update(code.co_names)
            codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        called = (function.__globals__.get(name) for name in names)
        left += [f for f in called if inspect.isfunction(f) and _is_foreign(f) and f not in seen and f not in left]
    return frozenset(names)


def _is_foreign(thing):
    """True for what is not torch's own, and so may look at any attribute of a module."""
    return thing.__module__.partition(".")[0] not in ("torch", "builtins")


def _pattern(record):
    """The steps of a record without sizes: which operator or child, on which of the values before it."""
    numbers = {}

    def number(values):
        return [numbers.setdefault(value, len(numbers)) for value in values]

    number(record.inputs)
    steps = [(_title(node), _child_name(record, node), number(node.inputs), number(node.outputs), node.in_place) for node in record.nodes]
    return [*steps, number(record.outputs)]


def _child_name(record, node):
    return node.child.path.removeprefix(record.path) if node.child else ""


class Shallow(fx.Tracer):
    """A tracer for one forward: every child is a leaf, in-place operators stay in place."""

    def __init__(self, record):
        super().__init__(param_shapes_constant=True)
        self.record = record
        self.lists = []

    def getattr(self, attr, value, cache):
        """As fx has it for weights, so for buffers: device and dtype are those of each call, not of this moment."""
        name = next((name for name, buffer in self.root.named_buffers() if buffer is value), None)
        if name is None:
            return super().getattr(attr, value, cache)
        if name not in cache:
            cache[name] = self.create_proxy("get_attr", name, (), {}, proxy_factory_fn=lambda node: BufferProxy(self, node, name, value))
        return cache[name]

    def is_leaf_module(self, module, path):
        return True

    def proxy(self, node):
        return InPlace(node, self)

    def create_args_for_root(self, function, is_module, concrete_args=None):
        args, kwargs = _arguments(self, function, self.record)
        return (lambda: function(self.root, *args, **kwargs)), []


class BufferProxy(fx.proxy.ParameterProxy):
    """A buffer whose shape is known and whose numbers are not."""

    def __init__(self, tracer, node, name, buffer):
        fx.Proxy.__init__(self, node, tracer)
        self.param, self.name = buffer, name


class InPlace(fx.Proxy):
    """A proxy that keeps `out += shortcut` what it is; fx would make it `out + shortcut`, a map more."""


def _in_place(name):
    function = getattr(operator, name)

    def method(self, other):
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(InPlace, f"__{_name}__", _in_place(_name))


def _trace(module, record, *, training):
    if not takes_grafts(module):
        raise Untraceable(f"{record.path or 'the model'}: {NO_GRAFTS}.")
    tracer, before = Shallow(record), dict(vars(module))
    with in_mode(module, training):
        try:
            graph = tracer.trace(module)
            _refuse_frozen(graph, record)
            _refuse_changes(tracer, before, module)
            return graph
        except Untraceable:
            raise
        except Exception as stop:  # fx and the model's own code raise anything at all
            raise Untraceable(f"{record.path}: {_line(module, stop)}: {_first_line(stop)}") from stop


def _refuse_frozen(graph, record):
    """Refuse what holds at this moment only: a tensor that the forward makes itself, the device of a weight."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target.startswith("_tensor_constant"):
            raise Untraceable(f"{record.path}: its forward makes a tensor that the trace would freeze.")
        if any(isinstance(leaf, torch.device) for leaf in tree_leaves((node.args, node.kwargs))):
            raise Untraceable(f"{record.path}: its forward asks a weight for its device, which the trace would freeze (at {node.name!r}).")


def _refuse_changes(tracer, before, module):
    """Refuse a forward that changes more than it returns: an attribute, or the list that it is given."""
    changed = next((name for name, value in vars(module).items() if before.get(name, module) is not value and name != "training"), None)
    if changed:
        raise Untraceable(f"{tracer.record.path}: its forward sets self.{changed}, which a rewritten one would not.")
    if any(list(map(id, now)) != list(map(id, then)) for now, then in tracer.lists):
        raise Untraceable(f"{tracer.record.path}: its forward changes the list that it is given, which a rewritten one would not.")


def _line(module, stop):
    """File, number and text of the last line of the model's own code on the traceback."""
    files = {base.forward.__code__.co_filename for base in type(module).__mro__ if inspect.isfunction(vars(base).get("forward"))}
    files = {file for file in files if "/torch/nn/" not in file}
    frames = [frame for frame in inspect.getinnerframes(stop.__traceback__) if frame.filename in files]
    if not frames:
        return f"the forward of {type(module).__name__} can't be traced"
    frame = frames[-1]
    text = frame.code_context[0].strip() if frame.code_context else ""
    return f"{frame.filename}:{frame.lineno} stops the trace at `{text}`"


def _first_line(stop):
    return (str(stop).strip() or type(stop).__name__).splitlines()[0]


def _arguments(tracer, function, record):
    """Proxies for what was a tensor in the observed call, the very value for all else.

    A value that was frozen so (None, a flag) is asserted by the rewritten forward at each call.
    """
    signature = inspect.signature(function)
    bound = signature.bind(record.module, *record.args, **record.kwargs)
    parameters = list(signature.parameters.values())[1:]
    args, kwargs, guards = [], {}, []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if bound.arguments.get(parameter.name):
                raise Untraceable(f"{record.path}: called with free arguments *{parameter.name}, which can't be rewritten.")
            continue
        proxy = tracer.create_proxy("placeholder", parameter.name, _default(parameter), {})
        value = bound.arguments.get(parameter.name, parameter.default)
        guards.append((parameter, proxy, value))
    for parameter, proxy, value in guards:
        stand_in = _stand_in(tracer, record, parameter.name, proxy, value)
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = stand_in
        else:
            args.append(stand_in)
    return args, kwargs


def _default(parameter):
    return () if parameter.default is parameter.empty else (parameter.default,)


def _stand_in(tracer, record, name, proxy, value):
    if isinstance(value, torch.Tensor):
        return proxy
    if isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
        tracer.create_proxy("call_function", expect_items, (proxy, len(value), record.path, name), {})
        items = [_stand_in(tracer, record, f"{name}[{i}]", proxy[i], item) for i, item in enumerate(value)]
        tracer.lists.append((items, items.copy()))
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, (tuple, list)) and value and all(type(item) is int for item in tree_leaves(value)):
        return _numbers(value, proxy)
    if type(value) is int:
        return proxy
    if value is None or type(value) in (bool, float, str):
        tracer.create_proxy("call_function", expect, (proxy, value, record.path, name), {})
        return value
    raise Untraceable(f"{record.path}: its argument {name!r} is a {type(value).__name__}, which can't be rewritten.")


def _numbers(value, proxy):
    """Sizes, which may be others at the next call, in lists as deep as observed."""
    if type(value) is int:
        return proxy
    return type(value)(_numbers(item, proxy[index]) for index, item in enumerate(value))


def _code(graph):
    return graph.python_code("self").src


class _Steps(fx.Interpreter):
    """Runs an fx graph under a recorder and notes which node made which step."""

    def __init__(self, graph, module, recorder):
        super().__init__(module, graph=graph, garbage_collect_values=False)
        self.recorder = recorder
        self.names = {}

    def run_node(self, node):
        result = super().run_node(node)
        # What returns several tensors is no value yet; the `getitem` that takes one of them is.
        if isinstance(result, torch.Tensor):
            self.names.setdefault(self.recorder.value(result), node.name)
        return result


def _align(graph, record):
    """The fx node of each recorded value, found by running `graph` on the recorded arguments.

    Returns:
        {recorded Value: name of the fx node}

    Raises:
        Untraceable: the two do not do the same, with the first difference.
    """
    recorder = Recorder({})
    steps = _Steps(graph, record.module, recorder)
    again = recorder.start(record.module, record.args, record.kwargs)
    with watched(recorder), torch.no_grad(), recorder:
        try:
            result = steps.run(*_flat(record))
        except Exception as stop:  # the graph of any forward; the refusal names the module
            raise Untraceable(f"{record.path}: the traced forward does not run: {_first_line(stop)}") from stop
    recorder.finish(again, result)
    ours, theirs = _spelled(again), _spelled(record)
    for step, (our, their) in enumerate(zip(ours, theirs)):
        if our != their:
            raise Untraceable(f"{record.path}: the traced forward differs from the real one at step {step}: {our[0]} for {their[0]}.")
    if len(ours) != len(theirs):
        raise Untraceable(f"{record.path}: the traced forward has {len(ours)} steps, the real one {len(theirs)}.")
    twins = {their: our for a, b in zip(again.nodes, record.nodes) for our, their in zip(a.outputs, b.outputs)}
    apart = _taken_apart_twice(graph)
    return {their: steps.names[our] for their, our in twins.items() if our in steps.names and steps.names[our] not in apart}


def _taken_apart_twice(graph):
    """Names of nodes that take a thing out of a collection which another node takes out as well: one name is not enough."""
    items = [(str(node.args), node.name) for node in graph.nodes if node.target is operator.getitem and type(node.args[1]) is int]
    return {name for args, name in items if sum(args == other for other, _ in items) > 1}


def _flat(record):
    """The observed arguments in the order of the forward's parameters, defaults filled in."""
    signature = inspect.signature(type(record.module).forward)
    bound = signature.bind(record.module, *record.args, **record.kwargs)
    bound.apply_defaults()
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [value for name, value in bound.arguments.items() if signature.parameters[name].kind not in free][1:]


def _spelled(graph):
    """The steps of a graph as comparable data, values numbered in order of first appearance."""
    numbers = {}

    def number(values):
        return [(numbers.setdefault(value, len(numbers)), value.shape) for value in values]

    number(graph.inputs)
    steps = []
    for node in graph.nodes:
        what = id(node.child.module) if node.child else node.constants
        steps.append((_title(node), what, number(node.inputs), number(node.outputs), node.in_place))
    return [*steps, ("its output", None, number(graph.outputs), None, None)]


def _title(node):
    return f"the call of {type(node.child.module).__name__}" if node.child else node.op
