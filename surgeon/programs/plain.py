"""Whether what a file says is plain data: names, sums of sizes, ATen's operators, and nothing that Python would run.

torch turns a program's texts into Python: names into the code of a forward, sizes into expressions that
sympy evaluates, guards into a function. Only what is listed here may stand in them.
"""

import ast
import json
import re
from functools import cache

import torch

NAME = re.compile(r"[\w.\-]*")
# Arguments of operators (`bij,bjk->bik`), and the modules a node was called in (`L__self__conv@1,conv,torch.nn.Conv2d;...`).
WORDS = re.compile(r"[\w.,>\- ]*")
PATHS = re.compile(r"[\w.,;@<>\-]*")
SUM = re.compile(r"[\w ()+\-*/%<>=!&|~,.\[\]']*")
SYMBOL = re.compile(r"[a-z]+\d+")
FUNCTIONS = {"FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "PowByNatural",
             "FloatPow", "FloatTrueDiv", "IntTrueDiv", "TruncToInt", "RoundToInt", "ToFloat", "Identity", "Max", "Min", "Eq", "Ne", "Lt", "Le",
             "Gt", "Ge", "And", "Or", "Not", "Symbol", "Add", "Mul", "Pow", "Integer", "Rational", "floor", "ceiling"}
POWERS = {"Pow", "PowByNatural", "FloatPow"}
# What a guard is about, with Python's own functions for it, and what it may ask of an input.
INPUTS = {"L", "torch", "max", "min"}
MEASURES = {"size", "stride", "storage_offset", "sym_max", "sym_min", "sym_not", "sym_float"}
NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.keyword)
CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
SYMBOLIC = re.compile(r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_|getitem)|torch\.sym_(int|float|max|min|not)|math\.(ceil|floor|trunc)")
# It reads any file of the disk, and can write one.
UNSAFE = {"aten::from_file"}
# Boxes and regions; what torchvision keeps under `image` reads and writes files.
NAMESPACES = ("aten::", "torchvision::")


def is_name(text):
    """Whether `text` is a name or a path of names.

    >>> is_name("layer1.0.conv1"), is_name("x=print(1)")
    (True, False)
    """
    return NAME.fullmatch(text) is not None


def is_sum(text, *, guard=False):
    """Whether `text` is arithmetic on sizes; as a guard, on those of the inputs.

    >>> is_sum("FloorDiv(Symbol('s77', positive=True), Integer(2)) + 1"), is_sum("__import__('os')")
    (True, False)
    """
    if len(text) > 20_000 or not SUM.fullmatch(text):
        return False
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
        return all(_is_plain(node, guard) for node in nodes) and all(_is_small(node) for node in nodes if _is_power(node))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain(node, guard):
    if isinstance(node, ast.Call):
        return isinstance(node.func, (ast.Name, ast.Attribute)) and all(keyword.arg for keyword in node.keywords)
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or SYMBOL.fullmatch(node.id) is not None or (guard and node.id in INPUTS)
    if isinstance(node, ast.Attribute):
        return guard and node.attr in MEASURES
    if isinstance(node, ast.Constant):
        # sympy evaluates a text inside an expression as an expression.
        return isinstance(node.value, (int, float)) or SYMBOL.fullmatch(str(node.value)) is not None or (guard and is_name(str(node.value)))
    return isinstance(node, NODES) or (guard and isinstance(node, ast.Subscript))


def _is_power(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) in POWERS or isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _is_small(power):
    """A tower of powers would keep sympy busy for ever."""
    base, exponent = (power.left, power.right) if isinstance(power, ast.BinOp) else power.args
    return not any(map(_is_power, ast.walk(base))) and re.fullmatch(r"(Integer\()?-?[1-4]\)?", ast.unparse(exponent)) is not None


def is_guard(text):
    """Whether `text` is a condition on the sizes of inputs.

    >>> is_guard("max(1, L['x'].size()[3] // 2) != 1")
    True
    """
    return is_sum(text, guard=True)


@cache
def _operators():
    """What torch's dispatcher knows; the names that only TorchScript gives a meaning (save, format) are not among them."""
    return {name for name in torch._C._dispatch_get_all_op_names() if name.startswith(NAMESPACES)} - UNSAFE


def is_operator(text):
    """Whether `text` names an operator that computes tensors or sizes.

    >>> is_operator("torch.ops.aten.conv2d.default"), is_operator("torch.os.system")
    (True, False)
    """
    if SYMBOLIC.fullmatch(text):
        return True
    head, _, name = text.partition("torch.ops.")
    space, _, name = name.partition(".")
    return not head and f"{space}::{name.removesuffix('.default')}" in _operators()


def is_nest(text):
    """Whether `text` is torch's description of nested lists, tuples and dicts, and of no other class."""
    try:
        version, nest = json.loads(text)
        return version == 1 and _is_nest(nest)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_nest(nest):
    context = json.loads(nest["context"]) if nest["context"] is not None else None
    named = context is None or (isinstance(context, list) and all(isinstance(key, str) and is_name(key) for key in context))
    return nest["type"] in CONTAINERS and named and all(map(_is_nest, nest["children_spec"]))
