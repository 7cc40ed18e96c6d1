"""Whether what a file says is plain data: names, sums of sizes, ATen's operators, and nothing that Python would run.

torch turns a program's texts into Python: names into the code of a forward, sizes into expressions that
sympy evaluates, guards into a function. Only what is listed here may stand in them.
"""

import ast
import json
import re
from functools import cache
from typing import Any

from surgeon.outside.torch import operator_names

NAME = re.compile(r"[\w.\-]*")
# Arguments of operators: `bij,bjk->bik`.
WORDS = re.compile(r"[\w.,>\- ]*")
# The modules that a node was called in: `L__self__conv@1,conv,torch.nn.Conv2d;...`.
PATHS = re.compile(r"[\w.,;@<>\-]*")
SUM = re.compile(r"[\w ()+\-*/%<>=!&|~,.\[\]']*")
SYMBOL = re.compile(r"[a-z]+\d+")
# What an expression may call: sympy's functions, and those that torch adds to them.
FUNCTIONS = frozenset(
    "FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt FloorToInt CeilDiv PowByNatural FloatPow "
    "FloatTrueDiv IntTrueDiv TruncToInt RoundToInt ToFloat Identity Max Min Eq Ne Lt Le Gt Ge And Or Not "
    "Symbol Add Mul Pow Integer Rational floor ceiling".split()
)
POWERS = {"Pow", "PowByNatural", "FloatPow"}
# What a guard may name besides: the inputs, torch, and two of Python's own functions; and what it may ask of an input.
INPUTS = {"L", "torch", "max", "min"}
MEASURES = {"size", "stride", "storage_offset", "sym_max", "sym_min", "sym_not", "sym_float"}
OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare)
OPERATORS = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
NODES = (ast.Expression, ast.expr_context, ast.keyword, *OPERATIONS, *OPERATORS)
CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
SYMBOLIC = re.compile(
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|torch\.sym_(int|float|max|min|not)"
    r"|math\.(ceil|floor|trunc)"
)
# It reads any file of the disk, and can write one.
UNSAFE = {"aten::from_file"}
# Boxes and regions; what torchvision keeps under `image` reads and writes files.
NAMESPACES = ("aten::", "torchvision::")


def is_name(text: str) -> bool:
    """Whether `text` is a name or a path of names.

    >>> is_name("layer1.0.conv1"), is_name("x=print(1)")
    (True, False)
    """
    return NAME.fullmatch(text) is not None


def is_sum(text: str, *, guard: bool = False) -> bool:
    """Whether `text` is arithmetic on sizes; as a guard, on those of the inputs.

    >>> is_sum("FloorDiv(Symbol('s77', positive=True), Integer(2)) + 1"), is_sum("__import__('os')")
    (True, False)
    """
    if len(text) > 20_000 or not SUM.fullmatch(text):
        return False
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
        powers = [_parts_of_power(node) for node in nodes if _is_power(node)]
        return all(_is_plain(node, guard) for node in nodes) and all(_is_small(*parts) for parts in powers)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain(node: ast.AST, guard: bool) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, (ast.Name, ast.Attribute)) and all(keyword.arg for keyword in node.keywords)
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or SYMBOL.fullmatch(node.id) is not None or (guard and node.id in INPUTS)
    if isinstance(node, ast.Attribute):
        return guard and node.attr in MEASURES
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) or _is_plain_text(str(node.value), guard)
    return isinstance(node, NODES) or (guard and isinstance(node, ast.Subscript))


def _is_plain_text(text: str, guard: bool) -> bool:
    """Whether a text inside an expression is harmless: sympy evaluates it as an expression of its own."""
    return SYMBOL.fullmatch(text) is not None or (guard and is_name(text))


def _is_power(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", None) in POWERS
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _parts_of_power(power: Any) -> tuple[ast.expr, ast.expr]:
    """The base and the exponent of `a ** b` or `Pow(a, b)`.

    Raises:
        ValueError: another number of arguments.
    """
    if isinstance(power, ast.BinOp):
        return power.left, power.right
    base, exponent = power.args
    return base, exponent


def _is_small(base: ast.expr, exponent: ast.expr) -> bool:
    """A tower of powers would keep sympy busy for ever."""
    is_tower = any(_is_power(node) for node in ast.walk(base))
    return not is_tower and re.fullmatch(r"(Integer\()?-?[1-4]\)?", ast.unparse(exponent)) is not None


def is_guard(text: str) -> bool:
    """Whether `text` is a condition on the sizes of inputs.

    >>> is_guard("max(1, L['x'].size()[3] // 2) != 1")
    True
    """
    return is_sum(text, guard=True)


@cache
def _operators() -> set[str]:
    """What torch's dispatcher knows. Names with a meaning in TorchScript only (save, format) are not among them."""
    return {name for name in operator_names() if name.startswith(NAMESPACES)} - UNSAFE


def is_operator(text: str) -> bool:
    """Whether `text` names an operator that computes tensors or sizes.

    >>> is_operator("torch.ops.aten.conv2d.default"), is_operator("torch.os.system")
    (True, False)
    """
    if SYMBOLIC.fullmatch(text):
        return True
    namespace, _, name = text.removeprefix("torch.ops.").partition(".")
    return text.startswith("torch.ops.") and f"{namespace}::{name.removesuffix('.default')}" in _operators()


def is_nest(text: str) -> bool:
    """Whether `text` is torch's description of nested lists, tuples and dicts, and of no other class."""
    try:
        version, nest = json.loads(text)
        return version == 1 and _is_nest(nest)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_nest(nest: Any) -> bool:
    if nest["type"] not in CONTAINERS or not all(map(_is_nest, nest["children_spec"])):
        return False
    # The keys of a dict; other containers have none.
    keys = json.loads(nest["context"]) if nest["context"] is not None else None
    return keys is None or (isinstance(keys, list) and all(isinstance(key, str) and is_name(key) for key in keys))
