"""A `torch.export` program as a network that can be operated on.

Its graph is flat and made of ATen operators. torch folds it back into modules under their old paths;
here those get forwards with named arguments, operators under the names that rules know, and the
class names that the export remembers, so that places are found as in the network it came from.
"""

import operator

import torch
from torch import nn
from torch.export.unflatten import InterpreterModule, UnflattenedModule, unflatten

# Operators that rules and axes speak of; all others may stay as they are.
KNOWN = {"add", "mul", "sub", "cat", "mean", "permute", "transpose", "flatten", "view", "reshape", "linear", "layer_norm", "batch_norm",
         "conv1d", "conv2d", "conv3d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"}
IN_PLACE = {"add_": operator.iadd, "mul_": operator.imul, "sub_": operator.isub}


def network(program):
    """An nn.Module with the weights and paths of an ExportedProgram, which computes what the program computes."""
    model = unflatten(program)
    for module in model.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            _rename(node)
    classes = _classes(program)
    for path, module in reversed(list(model.named_modules())):
        if path and isinstance(module, InterpreterModule):
            _replace(model, path, _named(module, classes.get(path)))
    return model.eval()


def is_program(model):
    """Whether `model` was made here, or by torch, from an exported program."""
    return isinstance(model, UnflattenedModule)


def _rename(node):
    """An ATen overload becomes the torch function of that name; the two are generated from one signature."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return
    name = node.target._schema.name.partition("::")[2]
    if name in IN_PLACE and len(node.args) == 2 and not node.kwargs:
        node.target = IN_PLACE[name]
    elif function := name in KNOWN and (getattr(torch, name, None) or getattr(torch._C._nn, name, None)):
        node.target = function
    elif name in KNOWN:
        # Only tensors have it, and `torch.Tensor.view` itself takes no stand-in for one.
        node.op, node.target = "call_method", name


def _classes(program):
    """Path -> full class name, as the export remembers it."""
    found = {}
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            found[path] = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return found


def _named(module, name):
    """A plain module with the contents of an InterpreterModule, its graph as its forward, and a class called as the original's."""
    home, _, short = (name or "surgeon.program.Program").rpartition(".")
    made = type(short, (nn.Module,), {"forward": _forward(module.graph), "__module__": home, "__qualname__": short})()
    for table in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
        setattr(made, table, getattr(module, table))
    return made


def _forward(graph):
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(compile(code.src, "<surgeon: forward of a program>", "exec"), scope)
    return scope["forward"]


def _replace(model, path, module):
    parent, _, leaf = path.rpartition(".")
    model.get_submodule(parent)._modules[leaf] = module
