"""What the libraries keep for themselves, and surgeon uses: it is there; a release without it is refused in one line."""

import configparser
import importlib.util
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import timm
import torch
from torch import nn

from surgeon.cli import run
from surgeon.errors import TRIED, BadVersion
from surgeon.networks.library import names
from surgeon.outside import timm as timms
from surgeon.outside import torch as torchs
from surgeon.outside import torchvision as torchvisions
from surgeon.programs.vet import TESTED

pytestmark = pytest.mark.network


def test_all_of_torchs_are_there():
    assert all(getattr(torchs, name) is not None for name in torchs.__all__)


def test_tables_are_those_that_modules_have():
    norm = nn.BatchNorm2d(2)
    module = nn.Sequential(nn.Linear(1, 1), norm)
    assert [*torchs.child_table(module)] == ["0", "1"] and [*torchs.parameter_table(norm)] == ["weight", "bias"]
    assert [*torchs.buffer_table(norm)] == ["running_mean", "running_var", "num_batches_tracked"]
    norm.register_buffer("mine", None, persistent=False)
    assert torchs.unsaved(norm) == {"mine"}
    assert not torchs.has_hooks(norm)
    norm.register_forward_hook(print)
    assert torchs.has_hooks(norm)


def test_tensors_and_operators_tell():
    tensor = torch.zeros(1)
    before = torchs.version(tensor)
    tensor.add_(1)
    assert torchs.version(tensor) == before + 1
    operator = torch.ops.aten.add.Tensor
    assert isinstance(operator, torchs.OpOverload) and torchs.operator_name(operator) == "aten::add"
    assert torchs.packet(operator) is torch.ops.aten.add


def test_a_compiled_model_is_known():
    model = nn.Linear(1, 1)
    compiled = torch.compile(model)
    assert torchs.is_compiled(compiled) and not torchs.is_compiled(model)
    assert getattr(compiled, torchs.ORIGINAL) is model


def test_optimizers_tell():
    weights = [nn.Parameter(torch.zeros(1))]
    assert torchs.takes_step_hooks(torch.optim.SGD(weights)) and not torchs.takes_step_hooks(nn.Module())
    assert torchs.is_of_one_group(torch.optim.LBFGS(weights)) and not torchs.is_of_one_group(torch.optim.SGD(weights))


def test_truncated_normals_are_drawn_there(monkeypatch):
    monkeypatch.setattr(nn.init, torchs.TRUNCATED, lambda tensor, *args, **kwargs: "drawn")
    assert nn.init.trunc_normal_(torch.zeros(1)) == "drawn"


def test_timms_and_torchvisions_are_there():
    model = timms.features(timm.create_model("test_resnet"), (0, 1))
    assert len(model(torch.zeros(1, 3, 32, 32))) == 2
    renamed = [name for name in names("torchvision") if torchvisions.renaming(name)]
    assert len(renamed) == 4 and torchvisions.renaming("resnet18") is None


LOST = [
    ("torch.utils._pytree", "tree_map_only", "cannot import name 'tree_map_only' from 'torch.utils._pytree'"),
    ("torch.nn.init", torchs.TRUNCATED, "torch.nn.init has no _no_grad_trunc_normal_"),
    (
        "torch._dynamo.eval_frame",
        "OptimizedModule",
        "cannot import name 'OptimizedModule' from 'torch._dynamo.eval_frame'",
    ),
]


def refusal(library, version, words):
    oldest, newest = TRIED[library]
    return (
        f"{library} {version}: {words}. surgeon is tested from {oldest} to {newest}: pip install '{library}<={newest}'"
    )


@pytest.mark.parametrize(("home", "name", "words"), LOST)
def test_a_torch_without_one_is_refused(home, name, words, monkeypatch):
    monkeypatch.delattr(importlib.import_module(home), name)
    spec = importlib.util.spec_from_file_location("another", torchs.__file__)
    another = importlib.util.module_from_spec(spec)
    with pytest.raises(BadVersion) as caught:
        spec.loader.exec_module(another)
        another.is_compiled(None)
    assert str(caught.value) == refusal("torch", torch.__version__, words)


def test_the_command_refuses_it_in_one_line():
    code = f"import torch, sys\ndel torch.nn.init.{torchs.TRUNCATED}\nfrom surgeon.cli import run\nsys.exit(run(['places', 'sample:digits']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    words = f"torch.nn.init has no {torchs.TRUNCATED}"
    assert done.returncode == 2 and done.stderr == f"surgeon: {refusal('torch', torch.__version__, words)}\n"


def test_a_timm_without_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.delattr(importlib.import_module("timm.models._hub"), "save_config_for_hf")
    with pytest.raises(BadVersion) as caught:
        timms.write_config(nn.Module(), tmp_path)
    words = "cannot import name 'save_config_for_hf' from 'timm.models._hub'"
    assert str(caught.value) == refusal("timm", timm.__version__, words)


def test_setup_asks_for_the_oldest_that_is_named():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    wanted = dict(line.split(">=") for line in setup["options"]["install_requires"].splitlines() if ">=" in line)
    assert {library: oldest for library, (oldest, _) in TRIED.items()}.items() <= wanted.items()


def test_an_attention_that_this_timm_lacks_says_so(monkeypatch, capsys):
    lost = AssertionError("Invalid attn module (coord)")
    monkeypatch.setattr(importlib.import_module("timm.layers.create_attn"), "get_attn", Mock(side_effect=lost))
    assert run(["plan", "torchvision:resnet18", "--attention", "timm:coord"]) == 2
    assert capsys.readouterr().err == (
        f"surgeon: timm {timm.__version__} has no attention 'timm:coord': pip install -U timm, or take another.\n"
    )


def test_a_program_with_an_old_torch_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.export.pt2_archive", None)
    assert run(["inject", "sample:digits", "--attention", "se", "-o", "a.pt2"]) == 2
    words = f"surgeon: .pt2 needs torch {TESTED} or newer, and this is {torch.__version__}."
    assert capsys.readouterr().err == f"{words} All other formats work with it.\n" and not Path("a.pt2").exists()
    # To read one as well.
    Path("b.pt2").write_bytes(b"PK")
    assert run(["export", "b.pt2", "-o", "c.onnx"]) == run(["show", "b.pt2"]) == 2
    assert capsys.readouterr().err.count(".pt2 needs torch") == 2
