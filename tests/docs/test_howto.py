"""The pages of how to do things, and of places: their blocks run in the order in which they stand."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

import surgeon
from surgeon.cli import run
from surgeon.cli.script import execute
from tests.shared import folders

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]
HOW = ("checkpoint", "own_attention", "own_network", pytest.param("trainers", marks=folders.needed), "gpus")
DEPLOYMENT = pytest.param("deployment", marks=[pytest.mark.export, pytest.mark.programs])
PLACES = ("residual", "bottleneck", "final", "input", "gate")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """An empty folder, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in {file.stem for file in tmp_path.glob("*.py")}:
        sys.modules.pop(name, None)


def blocks(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [*HOW, DEPLOYMENT, *PLACES])
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_all_blocks_run(page, room, monkeypatch):
    known, done = {}, 0
    for language, text in blocks(page):
        named = re.match(r"# (\S+\.py)\n", text)
        if named:
            (room / named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, f"{page}.md", "exec"), known)
        else:
            assert language == "sh"
            for line in text.splitlines():
                command(shlex.split(line), monkeypatch)
        done += 1
    assert done >= 1


def command(words, monkeypatch):
    """Run a command of surgeon's. Of a line that starts a training, see that the script would take its words."""
    if words[0] == "torchrun" and words[3] == "examples/finetune.py":
        monkeypatch.syspath_prepend(str(ROOT / "examples"))
        import finetune

        assert words[1] == "--nproc-per-node" and (ROOT / words[3]).is_file()
        finetune.options(words[4:])
    elif words[:2] == ["surgeon", "run"] or words[3:6] == ["-m", "surgeon.cli", "run"]:
        at = words.index("run")
        Path(words[at + 1]).write_text(TRAINING)
        monkeypatch.setattr(sys, "argv", sys.argv)
        monkeypatch.setattr(sys, "path", [*sys.path])
        execute(words[at + 1], words[at + 2 :])
    else:
        assert words[0] == "surgeon" and run(words[1:]) == 0, words


# As timm's own script names its network.
TRAINING = """
import argparse, surgeon, timm

parser = argparse.ArgumentParser()
for name in ("--model", "--data-dir"):
    parser.add_argument(name)
parser.add_argument("--pretrained", action="store_true")
given = parser.parse_args()
assert surgeon.attention_modules(timm.create_model(given.model, pretrained=given.pretrained))
"""


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 shards no weights without a GPU")
def test_several_gpus_as_the_page_has_it(room):
    """The page's functions on one process of DDP and of FSDP2: all of the attention is in the optimizer, and learns."""
    known = {}
    for language, text in blocks("gpus"):
        if language == "python":
            exec(compile(text, "gpus.md", "exec"), known)
    surgeon.save(surgeon.inject(surgeon.samples.load("digits"), "se"), "se.safetensors")
    torch.distributed.init_process_group("gloo", init_method=f"file://{room}/meet", rank=0, world_size=1)
    try:
        for shard in (False, True):
            model = known["prepared"]("se.safetensors", shard)
            optimizer = known["optimizer_for"](model)
            held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
            inner = getattr(model, "module", model)
            weights = surgeon.attention_parameters(inner)
            assert weights and all(id(weight) in held for weight in weights.values())
            model(surgeon.samples.digits("test")[0][:2]).square().sum().backward()
            assert all(weight.grad is not None for weight in weights.values())
    finally:
        torch.distributed.destroy_process_group()


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {file.name for file in (ROOT / "docs").glob("*.md")}
    assert {name for name in re.findall(r": (\w+\.md)$", menu, re.MULTILINE)} == pages | {"index.md", "changes.md"}


def test_the_citation_is_of_this_release():
    from ruamel.yaml import YAML

    cited = YAML(typ="safe").load(ROOT / "CITATION.cff")
    page = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
    assert cited["version"] == surgeon.version.VERSION and f"version = {{{surgeon.version.VERSION}}}" in page
    numbers = [source["url"].rpartition("/")[2] for source in cited["references"]]
    assert re.findall(r"arXiv:([\d.]+)", page) == numbers
