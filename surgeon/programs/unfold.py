"""A `torch.export` program as a network that can be operated on.

Its graph is flat and made of ATen operators. torch folds it back into modules under their old paths; here
those get forwards with named arguments, operators under the names that rules know, and the class names
that the export remembers, so that the same places are found as in the network it came from.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx
from torch import nn
from torch.export import ExportedProgram
from torch.export.unflatten import InterpreterModule, UnflattenedModule, unflatten

from surgeon.outside.torch import (
    BUFFERS,
    CHILDREN,
    PARAMETERS,
    UNSAVED,
    OpOverload,
    child_table,
    functions_of_nn,
    operator_name,
)

# Operators that rules and axes speak of; all others may stay as they are.
KNOWN = frozenset(
    "add mul sub cat mean permute transpose flatten view reshape linear layer_norm batch_norm "
    "conv1d conv2d conv3d max_pool2d avg_pool2d adaptive_avg_pool2d".split()
)
IN_PLACE = {"add_": operator.iadd, "mul_": operator.imul, "sub_": operator.isub}


def network(program: ExportedProgram) -> nn.Module:
    """An nn.Module with the weights and paths of an ExportedProgram, which computes what the program computes."""
    model = unflatten(program)
    for module in model.modules():
        graph = getattr(module, "graph", None)
        if isinstance(graph, torch.fx.Graph):
            for node in graph.nodes:
                _rename(node)
    classes = _classes(program)
    for path, module in reversed(list(model.named_modules())):
        if path and isinstance(module, InterpreterModule):
            _replace(model, path, _named(module, classes.get(path)))
    return model.eval()


def is_program(model: nn.Module) -> bool:
    """Whether `model` was made here, or by torch, from an exported program."""
    return isinstance(model, UnflattenedModule)


def _rename(node: torch.fx.Node) -> None:
    """An ATen overload becomes the torch function of that name; the two are generated from one signature."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return
    name = operator_name(node.target).partition("::")[2]
    if name in IN_PLACE and len(node.args) == 2 and not node.kwargs:
        node.target = IN_PLACE[name]
        return
    if name not in KNOWN:
        return
    function = getattr(torch, name, None) or getattr(functions_of_nn, name, None)
    if function is not None:
        node.target = function
    else:
        # Only tensors have it, and `torch.Tensor.view` itself takes no stand-in for one.
        node.op, node.target = "call_method", name


def _classes(program: ExportedProgram) -> dict[str, str]:
    """Path -> full class name, as the export remembers it."""
    found = {}
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            found[path] = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return found


def _named(module: InterpreterModule, name: str | None) -> nn.Module:
    """A plain module with the contents of `module`: the graph as its forward, and a class called as the original's."""
    home, _, short = (name or "surgeon.programs.unfold.Program").rpartition(".")
    body = {"forward": _forward(module.graph), "__module__": home, "__qualname__": short}
    plain: nn.Module = type(short, (nn.Module,), body)()
    for table in (PARAMETERS, BUFFERS, CHILDREN, UNSAVED):
        setattr(plain, table, getattr(module, table))
    return plain


def _forward(graph: torch.fx.Graph) -> Callable[..., Any]:
    """The function that torch writes for a graph, with the module as its first argument."""
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(compile(code.src, "<surgeon: forward of a program>", "exec"), scope)
    forward: Callable[..., Any] = scope["forward"]
    return forward


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    child_table(model.get_submodule(parent))[leaf] = module
