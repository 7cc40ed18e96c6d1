"""What is called fast builds no library's network, and runs no exporter."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))
# Whoever imports one of these builds networks; the layers and operators of the libraries are small.
BUILDERS = ("timm", "torchvision", "transformers", "benchmarks", "surgeon.cli", "surgeon.networks.library",
            "tests.shared.bombs", "tests.shared.operated", "tests.shared.own_networks", "tests.shared.small")  # fmt: skip
SMALL = ("timm.layers", "torchvision.ops")


def is_inside(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def builds(text):
    """Whether a source text imports what builds networks."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return any(is_inside(name, BUILDERS) and not is_inside(name, SMALL) for name in names)


def marks(text):
    """The names in `pytestmark = ...`."""
    assigned = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return {node.attr for value in assigned for node in ast.walk(value) if isinstance(node, ast.Attribute)}


def test_a_file_that_builds_networks_says_so():
    texts = {file: (TESTS / file).read_text() for file in FILES}
    building = {"network", "export", "clients", "tools", "browser"}
    assert [file for file, text in texts.items() if builds(text) and not marks(text) & building] == []


def test_one_that_does_not_say_so_is_found():
    text = "import pytest\nfrom torchvision.models import resnet18\npytestmark = pytest.mark.slow\n"
    assert builds(text) and marks(text) == {"mark", "slow"}
    assert not builds("from timm.layers import create_attn\nimport torch")
