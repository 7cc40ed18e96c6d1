"""What goes wrong in the first minute is said in one line, says what to do, and loses nothing."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

from surgeon.cli import run
from surgeon.files import atomic
from surgeon.networks import download
from surgeon.networks.library import parse

pytestmark = pytest.mark.network

INJECT = ["inject", "sample:digits", "--attention", "cbam", "--output"]


def said(capsys):
    """The one line on standard error."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("surgeon: ")
    return error


@pytest.mark.parametrize(("source", "file"), [
    ("torchvision:resnet18", "checkpoints/resnet18-f37072fd.pth"), ("timm:resnet18", "models--timm--resnet18.a1_in1k"),
])  # fmt: skip
def test_without_a_connection(source, file, tmp_path, monkeypatch, capsys):
    def refuse(*args, **options):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setattr(download, "get_hf_file_metadata", refuse)
    output = tmp_path / "a.safetensors"
    assert run(["inject", source, "--pretrained", "--attention", "cbam", "-o", str(output)]) == 2
    line = said(capsys)
    assert f"{source}: its pretrained weights are not in " in line and file in line
    assert "could not be downloaded: Temporary failure in name resolution. Give a file with --weights, or" in line
    assert "sample:digits, which needs no download" in line and not [*tmp_path.iterdir()]


def test_the_hub_is_asked_once_and_its_own_refusals_are_left_to_timm(monkeypatch, tmp_path):
    asked = []

    def refuse(error):
        def metadata(url, **options):
            asked.append(url)
            raise error

        return metadata

    monkeypatch.setattr(download, "HF_HUB_CACHE", tmp_path)
    monkeypatch.setattr(download, "get_hf_file_metadata", refuse(EntryNotFoundError("no config.json")))
    download.reach(parse("timm:resnet18"))
    monkeypatch.setattr(download, "get_hf_file_metadata", refuse(RuntimeError()))
    with pytest.raises(OSError, match="RuntimeError"):
        download.reach(parse("timm:resnet18"))
    assert asked == ["https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/config.json"] * 2
    download.home(parse("timm:resnet18")).mkdir(parents=True)
    download.reach(parse("timm:resnet18"))
    assert len(asked) == 2


@pytest.mark.parametrize("source", ["torchvision:resnet18", "torchvision:vit_b_16", "torchvision:fasterrcnn_resnet50_fpn",
                                    "timm:resnet18", "timm:resnet18.tv_in1k", "timm:vgg11", "timm:tf_efficientnet_b0.ns_jft_in1k"])  # fmt: skip
def test_where_weights_lie_is_known(source):
    assert str(download.home(parse(source))).startswith((torch.hub.get_dir(), download.HF_HUB_CACHE))
    assert download.home(parse(source)).name


@pytest.mark.parametrize(("source", "words"), [
    ("sample:digit", "sample has no network 'digit'. Did you mean 'digits'?"),
    ("samples:digits", "No module named 'samples'"),
    ("torchvision:resnet5", "torchvision has no network 'resnet5'. Did you mean 'resnet50'?"),
    ("digits", "'digits' names no library. Write torchvision:NAME or timm:NAME, such as sample:digits."),
])  # fmt: skip
def test_a_wrong_name(source, words, tmp_path, capsys):
    assert run(["inject", source, "--attention", "cbam", "-o", str(tmp_path / "a.safetensors")]) == 2
    assert words in said(capsys)


@pytest.mark.parametrize("command", [INJECT, ["tour", "--quiet", "--output"]], ids=["inject", "tour"])
def test_a_full_disk(command, tmp_path, monkeypatch, capsys):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_sync", full)
    assert run([*command, str(tmp_path / "a.safetensors")]) == 2
    assert "the disk is full. What was there before is untouched." in said(capsys)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", [INJECT, ["tour", "--quiet", "--output"]], ids=["inject", "tour"])
def test_a_folder_that_is_not_ones_own(command, tmp_path, monkeypatch, capsys):
    def refuse(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(atomic.tempfile, "mkdtemp", refuse)
    assert run([*command, str(tmp_path / "a.safetensors")]) == 2
    assert re.search(r"can't write \S+a\.safetensors: Permission denied\.\n", said(capsys))


@pytest.mark.parametrize("command", [INJECT, ["tour", "--quiet", "--output"]], ids=["inject", "tour"])
def test_a_folder_that_is_not_there(command, tmp_path, capsys):
    assert run([*command, str(tmp_path / "no" / "a.safetensors")]) == 2
    assert "there is no folder" in said(capsys)


def test_help_imports_few_modules():
    """A bound on what is imported, in place of a time: torch alone is two thousand modules."""
    code = "import sys\nfrom surgeon.cli import run\nrun(['--help'])\nprint(len(sys.modules), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env=os.environ,
    )  # fmt: skip
    count, has_torch = done.stdout.split()[-2:]
    assert has_torch == "False" and int(count) < 700
