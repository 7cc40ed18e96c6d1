"""Names that torch, timm and torchvision keep for themselves stand in one file each, and nowhere else."""

import ast

from docs.tools.imports import FILES, text_of
from surgeon.outside import timm, torch

ALLOWED = {f"outside/{library}" for library in ("torch", "timm", "torchvision")}
# Python's own.
OTHERS = {"_make", "_replace", "_getframe", "_lru_cache_wrapper"}
TEXTS = {getattr(torch, name) for name in dir(torch) if name.isupper() and isinstance(getattr(torch, name), str)}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def made_here(tree):
    """The private names that a source text gives to things of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def borrowed(text):
    """Private names of somebody else's in a source text: attributes, imports, and texts that are such a name."""
    tree = ast.parse(text)
    own = {*made_here(tree), *OTHERS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            if ast.unparse(node.value) not in ("self", "super()"):
                yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if any(map(is_private, name.split("."))))
        elif isinstance(node, ast.Constant) and node.value in {*TEXTS, timm.ARGUMENTS, "_load_state_dict"}:
            yield node.value


def test_private_names_stand_in_one_file_a_library():
    elsewhere = [file for file in FILES if file not in ALLOWED]
    assert {file: names for file in elsewhere if (names := list(borrowed(text_of(file))))} == {}


def test_they_would_be_found():
    text = (
        "from torch._ops import A\nfrom torch.fx import _wrap\nm._modules\nself._mine\nvars(m)['_buffers']\nm._made = 1"
    )
    assert sorted(borrowed(text)) == ["_buffers", "_modules", "_wrap", "torch._ops"]


def test_each_file_names_some():
    assert all(list(borrowed(text_of(file))) for file in sorted(ALLOWED))
