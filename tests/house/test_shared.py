"""What tests share lies in tests/shared: no test file imports another, so that each can be read, moved and deleted alone."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py"))


def imported(text, file):
    """Dotted names of all that the source text of `file`, a path below tests, imports."""
    package = ["tests", *file.split("/")[:-1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def from_other_tests(text, file):
    """Imports of anything below tests but what is shared."""
    return [
        name for name in imported(text, file) if name.split(".")[0] == "tests" and name.split(".")[1:2] != ["shared"]
    ]


def test_no_test_file_imports_another():
    assert {file: wrong for file in FILES if (wrong := from_other_tests((TESTS / file).read_text(), file))} == {}


@pytest.mark.parametrize("text", [
    "from tests.attention.test_export import form", "import tests.attention.test_export", "from tests import attention",
    "from .test_export import form", "from . import test_export", "from ..files.test_round import said",
])  # fmt: skip
def test_an_import_of_another_test_file_is_found(text):
    assert from_other_tests(text, "attention/test_compile.py")


@pytest.mark.parametrize(
    "text",
    [
        "from tests.shared import toy",
        "from tests.shared.toy import Net",
        "import torch",
        "from ..shared.toy import Net",
    ],
)
def test_an_import_of_what_is_shared_is_fine(text):
    assert not from_other_tests(text, "attention/test_compile.py")
