"""Imports go in one direction, from what knows little to what knows much; only `sources` knows torchvision and timm."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import surgeon

PACKAGE = Path(surgeon.__file__).parent
FILES = sorted(PACKAGE.glob("*.py"))

# Each row may import what stands above it, never what stands beside or below.
ORDER = [
    {"errors", "axes", "still", "hollow", "lines", "grammar", "graft", "graph", "modes", "likeness"},
    {"residual"},
    {"sites", "layouts", "expect", "examples", "maps", "trunk", "ruletext"},
    {"attention", "complaint", "words"},
    {"rulebook", "trace", "match", "owner", "splice", "unread"},
    {"check", "symbolic"},
    {"rewrite"},
    {"observation", "decide"},
    {"surgery"},
    {"operation"},
    {"__init__"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
LIBRARIES = {"torchvision", "timm"}
WITHOUT_TORCH = {"errors", "sites", "rulebook"}


def imported(text):
    """What a source text imports, as (package, first module inside it)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((*alias.name.split("."), "")[:2] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            head, *rest = node.module.split(".")
            yield from [(head, rest[0])] if rest else [(head, alias.name) for alias in node.names]


def against_the_order(name, text):
    """The imports of file `name` that go the wrong way."""
    return [inner for package, inner in imported(text) if package == "surgeon" and LEVEL.get(inner, -1) >= LEVEL[name]]


def files_of(name):
    return sorted((PACKAGE / name).glob("*.py")) or [PACKAGE / f"{name}.py"]


@pytest.mark.parametrize("name", sorted(LEVEL))
def test_the_core_imports_upwards_only(name):
    found = [inner for file in files_of(name) for inner in against_the_order(name, file.read_text()) if inner != name]
    assert found == []


def test_no_import_goes_in_a_circle():
    above = {file.stem: {inner for package, inner in imported(file.read_text()) if package == "surgeon"} for file in FILES}
    assert list(TopologicalSorter(above).static_order())


def test_an_import_the_wrong_way_is_found():
    assert against_the_order("trace", "from surgeon.rewrite import rewritable") == ["rewrite"]
    assert against_the_order("trace", "from surgeon import operation, errors") == ["operation"]
    assert against_the_order("trace", "def f():\n    import surgeon.splice") == ["splice"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_sources_know_the_libraries(file):
    known = {package for package, _ in imported(file.read_text())} & LIBRARIES
    assert not known or re.match("sources", file.stem)


def test_a_library_would_be_found():
    assert {package for package, _ in imported("import timm.layers\nfrom torchvision import ops")} == LIBRARIES


@pytest.mark.parametrize("name", sorted(WITHOUT_TORCH))
def test_plain_data_does_not_need_torch(name):
    assert "torch" not in {package for package, _ in imported((PACKAGE / f"{name}.py").read_text())}
