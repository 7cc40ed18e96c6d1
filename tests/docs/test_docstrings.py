"""The examples in docstrings are run, and their results compared."""

import builtins
import doctest
import importlib
import pkgutil
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO

import pytest
import torch
import torchvision

import surgeon
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton

MODULES = [module.name for module in pkgutil.walk_packages(surgeon.__path__, "surgeon.") if not module.name.startswith("surgeon.cli")]


def network(*args, **options):
    return torchvision.models.resnet18(num_classes=4)


@cache
def names():
    """What the examples take for granted: a network with attention, images, one observed run."""
    model, images = surgeon.inject(network().eval(), "cbam"), torch.zeros(2, 3, 64, 64)
    graph, _ = observe(skeleton(network(), numbers=True), (images,))
    return {
        "torch": torch, "torchvision": torchvision, "surgeon": surgeon, "resnet50": network, "model": model,
        "images": images, "graph": graph, "value": graph.inputs[0],
    }  # fmt: skip


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def is_known(example, known):
    """False for an illustration: with a file, a download or a variable that only its reader has."""
    code = compile(example.source, "", "exec")
    if any(isinstance(text, str) and re.search(r"DEFAULT|\.(pth?|safetensors|onnx|yaml)$", text) for text in code.co_consts):
        return False
    return all(name in known or hasattr(builtins, name) for name in code.co_names if f".{name}" not in example.source)


def run(example, known):
    """The complaint about one example; one without a result shown has to run, and may print."""
    if not example.want:
        with redirect_stdout(StringIO()):
            exec(compile(example.source, "<docstring>", "exec"), known)
        return ""
    report, test = [], doctest.DocTest([example], known, "docstring", None, None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test, out=report.append, clear_globs=False)
    return "".join(report)


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_docstrings(name):
    for test in examples(name):
        known = names() | test.globs
        for example in test.examples:
            assert not is_known(example, known) or run(example, known) == ""


def test_a_wrong_result_is_noticed():
    wrong, unknown = doctest.DocTestParser().get_examples(">>> 1 + 1\n3\n>>> nobody(1)\n4\n")
    assert "Expected:" in run(wrong, {})
    assert is_known(wrong, {}) and not is_known(unknown, {})


def test_there_are_examples():
    assert len([name for name in MODULES if examples(name)]) > 10
