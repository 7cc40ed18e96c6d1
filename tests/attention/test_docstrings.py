"""The examples in the docstrings give what they say they give."""

import doctest
from importlib import import_module

import pytest
import torch
from torchvision.models import resnet18

import surgeon
from surgeon.attention import build
from tests.attention.test_networks import official_key

MODULES = [
    *("attention.building", "attention.eca", "attention.foreign", "attention.gates", "attention.layouts", "attention.naming"),
    *("attention.options", "attention.probing", "attention.se", "checkpoints.published", "surgery.training"),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    model = surgeon.inject(resnet18(), "cbam", where="residual").eval()
    paper = surgeon.inject(resnet18(), "cbam", where="residual", init="paper")
    official = {official_key(key): value for key, value in paper.state_dict().items()}
    world = {"model": model, "official": official, "images": torch.randn(2, 3, 32, 32), "build": build, "torch": torch}
    result = doctest.testmod(import_module(f"surgeon.{name}"), extraglobs=world)
    assert result.attempted and not result.failed


def test_no_example_is_left_out():
    from pathlib import Path

    root = Path(surgeon.__file__).parent
    paths = [*(root / "attention").glob("*.py"), *(root / f"{name}.py" for name in ("checkpoints/published", "surgery/training"))]
    found = {".".join(path.relative_to(root).with_suffix("").parts) for path in paths if ">>>" in path.read_text()}
    assert found == set(MODULES)
