"""Commands that only read texts start without torch, and importing surgeon imports nothing heavy."""

import json
import subprocess
import sys

import numpy
import pytest
import timm
import torch

import surgeon
from tests.shared.folders import needed

pytestmark = pytest.mark.network

# numpy 1 imports all of itself.
HEAVY = ("torch", "torchvision", "timm", *(["numpy.random"] if numpy.__version__ >= "2" else []))


def loaded_after(code):
    """Which of the heavy packages a fresh process holds after it ran `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_importing_surgeon_imports_nothing_heavy():
    assert loaded_after("import surgeon") == []


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["show", "a.safetensors"], ["rules", "list"], ["rules", "schema"]]
)
def test_commands_without_torch(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    surgeon.save(surgeon.inject(timm.create_model("test_resnet"), "cbam"), "a.safetensors")
    assert loaded_after(f"from surgeon.cli import run\nassert run({arguments}) == 0") == []


def test_it_would_be_seen():
    assert "torch" in loaded_after("import surgeon\nsurgeon.inject")


@needed
@pytest.mark.parametrize("first", ["surgeon", "timm"])
def test_timm_opens_folders_whichever_is_imported_first(first, tmp_path):
    model = surgeon.inject(timm.create_model("test_resnet", num_classes=3), "cbam")
    surgeon.save(model, tmp_path / "folder")
    second = {"surgeon": "timm", "timm": "surgeon"}[first]
    code = f"import {first}, {second}, timm, torch\nmodel = timm.create_model('local-dir:{tmp_path}/folder', pretrained=True)\ntorch.save(model.state_dict(), 'a.pth')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True)
    found = torch.load(tmp_path / "a.pth")
    assert list(found) == list(model.state_dict()) and all(
        torch.equal(found[key], value) for key, value in model.state_dict().items()
    )
