"""Imports go in one direction, from what knows little to what knows much; few files know torchvision and timm."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import surgeon

PACKAGE = Path(surgeon.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))

# Each row may import what stands above it and itself, never what stands below.
ORDER = (
    {"errors", "version"},
    {"sites"},
    {"attention"},
    {"trace"},
    {"forward"},
    {"anatomy"},
    {"checkpoints"},
    {"networks"},
    {"rulebook"},
    {"surgery"},
    {"operation"},
    {"programs"},
    {"files"},
    {"__init__"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
LIBRARIES = {"torchvision", "timm"}
# The rest of surgeon asks these.
KNOW_LIBRARIES = {"attention/naming", "networks/library", "networks/catalogue", "networks/translate", "files/folder"}


def imported(text):
    """Dotted names of all that a source text imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name):
    """The file of surgeon's that a dotted name lies in; None of what is somebody else's.

    >>> file_of("surgeon.trace.recorder.observe"), file_of("surgeon.attention.build"), file_of("torch.nn")
    ('trace/recorder', 'attention/__init__', None)
    """
    head, *parts = name.split(".")
    if head != "surgeon":
        return None
    found = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    paths = (path for part in found for path in (part, f"{part}/__init__"))
    return next((path for path in paths if path in FILES), "__init__")


def text_of(file):
    return (PACKAGE / f"{file}.py").read_text()


def room(file):
    return file.partition("/")[0]


def upward(file, text):
    """The imports of `file` that go the wrong way."""
    inner = (file_of(name) for name in imported(text))
    return [other for other in inner if other and room(other) != room(file) and LEVEL[room(other)] >= LEVEL[room(file)]]


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_what_is_above_it_only(file):
    assert upward(file, text_of(file)) == []


def test_an_import_the_wrong_way_is_found():
    assert upward("trace/recorder", "from surgeon.forward.rewrite import rewritable") == ["forward/rewrite"]
    assert upward("trace/recorder", "from surgeon import operation, errors") == ["operation"]
    assert upward("trace/recorder", "def f():\n    import surgeon.surgery.splice") == ["surgery/splice"]


def test_no_import_goes_in_a_circle():
    above = {file: {file_of(name) for name in imported(text_of(file))} - {None} for file in FILES}
    assert list(TopologicalSorter(above).static_order())


def test_every_room_has_its_level():
    assert {room(file) for file in FILES} == LEVEL.keys()


def libraries(text):
    return {name.partition(".")[0] for name in imported(text)} & LIBRARIES


@pytest.mark.parametrize("file", FILES)
def test_few_files_know_the_libraries(file):
    assert bool(libraries(text_of(file))) == (file in KNOW_LIBRARIES)


def test_a_library_would_be_found():
    assert libraries("import timm.layers\nfrom torchvision import ops") == LIBRARIES
