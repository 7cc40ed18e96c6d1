"""Imports go in one direction, from what knows little to what knows much; few files know the libraries or change a model."""

import ast
from graphlib import TopologicalSorter

from docs.tools.imports import FILES, ORDER, file_of, imported, imports_of, room_of, rooms, text_of

LEVEL = {room: level for level, room in enumerate(ORDER)}
LIBRARIES = {"torchvision", "timm"}
# All else asks these.
KNOW_LIBRARIES = {
    "attention/naming",
    "networks/library",
    "networks/catalogue",
    "networks/download",
    "networks/translate",
    "files/folder",
    "outside/timm",
    "outside/torchvision",
}
# `surgery/splice` changes users' models; `forward/subclass` moves attention along where a user merges layers.
# The others give a module that they have just made its parts, or a stand-in its.
CHANGE_MODULES = {
    "surgery/splice",
    "attention/bam",
    "networks/library",
    "networks/weights",
    "programs/unfold",
    "forward/otherwise",
    "forward/reads",
    "forward/subclass",
}


def upward(file, text):
    """The imports of `file` that go the wrong way."""
    others = (other for other in imports_of(file, text) if room_of(other) != room_of(file))
    return [other for other in others if LEVEL[room_of(other)] >= LEVEL[room_of(file)]]


def test_a_file_imports_what_is_above_it_only():
    assert {file: wrong for file in FILES if (wrong := upward(file, text_of(file)))} == {}


def test_an_import_the_wrong_way_is_found():
    assert upward("trace/recorder", "from surgeon.forward.rewrite import rewritable") == ["forward/rewrite"]
    assert upward("trace/recorder", "from surgeon import operation, errors") == ["operation"]
    assert upward("trace/recorder", "def f():\n    import surgeon.surgery.splice") == ["surgery/splice"]


def test_no_import_goes_in_a_circle():
    above = {file: set(imports_of(file, text_of(file))) for file in FILES}
    assert list(TopologicalSorter(above).static_order())


def test_the_top_level_is_small_and_every_room_is_known():
    assert {room_of(file) for file in FILES} == set(ORDER) == rooms().keys()
    assert len(ORDER) <= 20


def libraries(text):
    return {name.partition(".")[0] for name in imported(text)} & LIBRARIES


def test_few_files_know_the_libraries():
    assert {file for file in FILES if libraries(text_of(file))} == set(KNOW_LIBRARIES)


def test_a_library_would_be_found():
    assert libraries("import timm.layers\nfrom torchvision import ops") == LIBRARIES


def changes(text):
    """What in a source text gives a module another class or other children: the lines of it."""
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else []
        for target in targets:
            held = target.value if isinstance(target, ast.Subscript) else None
            if isinstance(target, ast.Attribute) and target.attr == "__class__":
                yield node.lineno
            elif isinstance(held, ast.Attribute) and held.attr in ("_modules", "_parameters"):
                yield node.lineno
            elif isinstance(held, ast.Call) and getattr(held.func, "id", "") in ("child_table", "parameter_table"):
                yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_module":
            yield node.lineno
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "setattr"
            and ast.unparse(node.args[1]) == "table"
        ):
            yield node.lineno


def test_few_files_change_modules():
    assert {file for file in FILES if list(changes(text_of(file)))} == set(CHANGE_MODULES)


def test_a_change_would_be_found():
    assert list(changes("m.__class__ = C\nm._modules[n] = x\ndel child_table(m)[n]\nm.add_module(n, x)")) == [
        1,
        2,
        3,
        4,
    ]


def test_names_lie_in_files():
    assert (file_of("surgeon.trace.recorder.observe"), file_of("surgeon.attention.build"), file_of("torch.nn")) == (
        "trace/recorder", "attention/__init__", None,
    )  # fmt: skip
