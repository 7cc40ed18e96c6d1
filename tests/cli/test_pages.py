"""`--html` and `--svg` of the command, and `inject --plan` with what they write."""

import json
import re
from pathlib import Path

import pytest

import surgeon
from surgeon.cli import run
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
def _room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(line):
    return run(line.split())


def test_plan_writes_a_page_and_a_drawing(capsys):
    assert call(f"plan {TINY} --attention cbam --html plan.html --svg plan.svg") == 0
    assert "written: plan.html" in capsys.readouterr().out
    text = Path("plan.html").read_text(encoding="utf-8")
    assert f"surgeon inject {TINY} --plan plan.json --output test_resnet_cbam.safetensors" in text
    assert Path("plan.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_command_of_the_page_does_the_plan_of_the_page(capsys, tmp_path):
    call(f"plan {TINY} --attention se --set reduction=8 --num-classes 7 --arg in_chans=1 --html plan.html")
    text = Path("plan.html").read_text(encoding="utf-8")
    plan = json.loads(re.search(r'id="plan"[^>]*>(.*?)</textarea>', text, re.DOTALL)[1].replace("&#34;", '"'))
    # As the page leaves it when the first site is ticked off.
    plan["sites"] = plan["sites"][1:]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = re.search(r'<pre id="command">surgeon (.*?)</pre>', text)[1]
    assert "--num-classes 7 --arg in_chans=1" in command and call(command) == 0
    model = surgeon.load("test_resnet_se.safetensors")
    gates = [*surgeon.attention_modules(model).values()]
    assert [gate.site.module for gate in gates] == [s["module"] for s in plan["sites"]]
    assert model.fc.out_features == 7 and gates[0].fc1.out_features == 6


def test_a_plan_of_the_command_itself(capsys):
    call(f"plan {TINY} --attention cbam --json")
    Path("plan.json").write_text(capsys.readouterr().out)
    assert call(f"inject {TINY} --plan plan.json -o a.safetensors -q") == 0
    assert len(surgeon.attention_modules(surgeon.load("a.safetensors"))) == 4


PLAN = {"attention": "se", "options": {}, "init": "eager", "fingerprint": "", "sites": []}
REFUSED = {
    "--plan plan.json --attention cbam": (
        PLAN,
        "--plan plan.json says all that --attention says. Give one of the two.",
    ),
    "--plan plan.json --where final": (PLAN, "--plan plan.json says all that --where says. Give one of the two."),
    "--plan plan.json --init paper": (PLAN, "--plan plan.json says all that --init says. Give one of the two."),
    "--plan nowhere.json": (
        PLAN,
        "nowhere.json can't be read: No such file or directory. surgeon plan SOURCE --json > FILE",
    ),
    "--plan plan.json": (PLAN, "plan.json is a plan without a site: nothing would be done."),
    "--plan plan.json --quiet": ({"sites": []}, "plan.json holds no plan: 'attention'. A plan has attention, options"),
    "--plan plan.json -q": ("", "plan.json holds no plan: "),
    "": (PLAN, "Missing option '--attention', such as cbam; or --plan with a file of surgeon plan --json."),
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_is_no_plan_is_refused(options, capsys, tmp_path):
    plan, told = REFUSED[options]
    (tmp_path / "plan.json").write_text(json.dumps(plan) if plan else "<html>")
    assert call(f"inject {TINY} {options} -o a.safetensors") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"surgeon: {told}") and error.count("\n") == 1
    assert not (tmp_path / "a.safetensors").exists()


def test_the_plan_of_another_network_is_refused(capsys):
    call("plan timm:test_efficientnet --attention cbam --where final --json")
    Path("plan.json").write_text(capsys.readouterr().out)
    assert call(f"inject {TINY} --plan plan.json -o a.safetensors") == 2
    assert "a network with other weights than this ResNet" in capsys.readouterr().err


def test_a_page_is_not_written_over_another_unasked(capsys, tmp_path):
    (tmp_path / "plan.html").write_text("mine")
    assert call(f"plan {TINY} --attention cbam --html plan.html") == 2
    assert "plan.html exists. --force" in capsys.readouterr().err and (tmp_path / "plan.html").read_text() == "mine"
    assert call(f"plan {TINY} --attention cbam --html plan.html --force -q") == 0
    assert (tmp_path / "plan.html").read_text().startswith("<!doctype html>")


def test_one_name_for_two_files(capsys):
    assert call(f"plan {TINY} --attention cbam --html a --svg a") == 2
    assert "--html and --svg are both a. Give two names." in capsys.readouterr().err


def test_show_writes_a_page_of_what_is_in_a_file():
    surgeon.save(tiny("cbam"), "a.safetensors")
    assert call("show a.safetensors --html page.html --svg page.svg -q") == 0
    text = Path("page.html").read_text(encoding="utf-8")
    assert "Gates change a map of noise by" in text and text.count("has opened by") == 4 and "Bottleneck" in text
    assert '<input type="checkbox"' not in text


def test_show_draws_the_sites_alone_of_somebodys_own_network(tmp_path, monkeypatch):
    source = "from tests.shared.toy import Net\nclass Mine(Net):\n    pass\n"
    (tmp_path / "own_network.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert call("inject own_network:Mine --attention se --example 2x3x16x16 -o own.safetensors -q") == 0
    assert call("show own.safetensors --html alone.html -q") == 0
    assert call("show own.safetensors --html whole.html --allow-imports -q") == 0
    alone, whole = (Path(name).read_text(encoding="utf-8") for name in ("alone.html", "whole.html"))
    assert "only the modules with attention are drawn" in alone and "BatchNorm2d" not in alone
    assert "BatchNorm2d" in whole and "only the modules" not in whole


def test_figures_of_this_machine(capsys):
    assert call(f"plan {TINY} --attention cbam --html plan.html --measure") == 0
    surgeon.save(tiny("se"), "se.safetensors")
    assert call("show se.safetensors --html show.html --measure") == 0
    for name in ("plan.html", "show.html"):
        text = Path(name).read_text(encoding="utf-8")
        assert text.count("of a run;") == 4 and "<dt>time</dt>" in text and "float32" in text
    capsys.readouterr()
    for line in (f"plan {TINY} --attention cbam --measure", "show se.safetensors --measure --svg a.svg"):
        assert call(line) == 2
        assert "give --html FILE as well" in capsys.readouterr().err
