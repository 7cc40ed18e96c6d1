"""The examples in docstrings are run, all but those that download, and their results compared."""

import doctest
import importlib
import pkgutil
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO

import pytest
import torch
import torchvision

import surgeon
from surgeon.attention import build
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton
from tests.shared.official import official_key
from tests.shared.small import tiny

pytestmark = pytest.mark.network

MODULES = [
    module.name
    for module in pkgutil.walk_packages(surgeon.__path__, "surgeon.")
    if not module.name.startswith("surgeon.cli")
]


def network(*args, **options):
    return torchvision.models.resnet18(num_classes=4)


@pytest.fixture(scope="module")
def made():
    """What takes a while to make: a network with attention, trained weights for it, one observed run."""
    paper = surgeon.inject(network(), "cbam", init="paper")
    graph, _ = observe(skeleton(network(), numbers=True), (torch.zeros(2, 3, 64, 64),))
    official = {official_key(key): value for key, value in paper.state_dict().items()}
    model = surgeon.inject(network().eval(), "cbam")
    return {"model": model, "stock": network().eval(), "official": official, "graph": graph, "value": graph.inputs[0]}


def names(made, text):
    """What the examples of a docstring take for granted, untouched by any other's."""
    # Who puts attention in has a network without.
    model = deepcopy(made["stock" if "inject(model" in text else "model"])
    return made | {"torch": torch, "torchvision": torchvision, "surgeon": surgeon, "resnet50": network, "build": build,
                     "model": model, "images": torch.randn(2, 3, 64, 64)}  # fmt: skip


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def downloads(example):
    return "weights=" in example.source


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


@pytest.mark.parametrize("name", ["surgeon", *(name for name in MODULES if examples(name))])
def test_docstrings(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for test in examples(name):
        # One example reads what another writes.
        surgeon.save(tiny(), "resnet50_cbam.safetensors", force=True)
        known = names(made, test.docstring) | test.globs
        for example in test.examples:
            assert downloads(example) or run(example, known) == ""


def test_a_wrong_result_is_noticed():
    wrong, unknown = doctest.DocTestParser().get_examples(">>> 1 + 1\n3\n>>> nobody(1)\n4\n")
    assert "Expected:" in run(wrong, {}) and "NameError" in run(unknown, {})


def test_one_example_downloads():
    found = [
        example.source for name in MODULES for test in examples(name) for example in test.examples if downloads(example)
    ]
    assert len(found) == 1 and 'weights="DEFAULT"' in found[0]


def test_there_are_examples():
    assert len([name for name in MODULES if examples(name)]) > 10
