"""The command: what it prints, what it refuses, what it leaves behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import surgeon
from surgeon.cli import app, run
from surgeon.errors import BadInput
from surgeon.files import intake
from surgeon.networks import library
from surgeon.surgery import Activity
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, output, stir, tiny

pytestmark = pytest.mark.network

COMMANDS = (
    "places",
    "plan",
    "inject",
    "show",
    "strip",
    "delta",
    "merge",
    "export",
    "fold",
    "check",
    "verify",
    "maps",
    "tour",
    "compare",
    "rank",
)


@pytest.fixture
def weights(tmp_path):
    model = tiny(None)
    torch.save(model.state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


@pytest.fixture
def injected(tmp_path):
    surgeon.save(tiny(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def call(*arguments):
    return run([str(argument) for argument in arguments])


def test_places_counts(capsys):
    assert call("places", "torchvision:mobilenet_v2") == 0
    printed = capsys.readouterr().out.split()
    assert printed[printed.index("residual") + 1] == "10"


def test_places_as_json(capsys):
    assert call("places", "torchvision:resnet18", "--json") == 0
    assert json.loads(capsys.readouterr().out)["places"] == {
        "residual": 8,
        "bottleneck": 3,
        "final": 1,
        "input": 1,
        "gate": 0,
    }


def test_plan_prints_a_row_for_each_site_and_changes_nothing(capsys, tmp_path):
    assert (
        call("plan", "torchvision:resnet18", "--attention", "bam", "--where", "bottleneck", "--set", "reduction=8") == 0
    )
    printed = capsys.readouterr().out
    assert [f"layer{number}" in printed for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert "64 x 56 x 56" in printed and "together" in printed


def test_plan_as_json_is_a_plan(capsys):
    assert call("plan", TINY, "--attention", "cbam", "--where", "final", "--where", "residual", "--json") == 0
    read = surgeon.Plan.from_dict(json.loads(capsys.readouterr().out))
    assert {site.place for site in read} == {"final", "residual"}


@pytest.mark.parametrize(
    ("attention", "place"), [("cbam", "residual"), ("bam", "bottleneck"), ("se", "final"), ("eca", "input")]
)
def test_inject_writes_a_network_with_the_same_output(weights, tmp_path, attention, place):
    target = tmp_path / "out.safetensors"
    assert (
        call(
            "inject",
            TINY,
            "--weights",
            weights,
            "--attention",
            attention,
            "--where",
            place,
            "--output",
            target,
            "--quiet",
        )
        == 0
    )
    model = surgeon.load(target)
    plain = library.build(TINY, num_classes=4)
    plain.load_state_dict(torch.load(weights))
    assert torch.equal(output(model), output(plain))
    assert {gate.site.place for gate in surgeon.attention_modules(model).values()} == {place}


def test_inject_says_where_the_weights_are_from(tmp_path, weights, capsys):
    call("inject", TINY, "--attention", "cbam", "-o", tmp_path / "a.safetensors")
    assert f"{TINY}, random weights" in capsys.readouterr().out
    call("inject", TINY, "--weights", weights, "--attention", "cbam", "-o", tmp_path / "b.safetensors")
    printed = capsys.readouterr().out
    assert f"{TINY}, weights from {weights}" in printed and "the same as before, bit for bit" in printed


def test_inject_with_the_papers_start_prints_how_far_the_output_moved(tmp_path, capsys):
    assert call("inject", TINY, "--attention", "cbam", "--init", "paper", "-o", tmp_path / "a.safetensors") == 0
    printed = capsys.readouterr().out
    assert "output on a small image moved by up to" in printed and "bit for bit" not in printed


def test_a_file_of_surgeons_can_be_operated_on_again(injected, tmp_path):
    assert (
        call(
            "inject", injected, "--attention", "bam", "--where", "bottleneck", "-o", tmp_path / "two.safetensors", "-q"
        )
        == 0
    )
    model = surgeon.load(tmp_path / "two.safetensors")
    assert {gate.made["attention"] for gate in surgeon.attention_modules(model).values()} == {"cbam", "bam"}
    assert torch.equal(output(model), output(surgeon.load(injected)))


REFUSALS = {
    "unknown attention": (["--attention", "cbma"], 2, "unknown attention 'cbma'. Did you mean 'cbam'?"),
    "unknown place": (["--attention", "cbam", "--where", "residul"], 2, "'residul'"),
    "unknown option": (
        ["--attention", "cbam", "--set", "reductoin=8"],
        2,
        "cbam has no option 'reductoin'. Did you mean 'reduction'?",
    ),
    "option without value": (
        ["--attention", "cbam", "--set", "reduction"],
        2,
        "--set reduction: write key=value, such as reduction=8.",
    ),
    "unknown start": (["--attention", "cbam", "--init", "papr"], 2, "Did you mean 'paper'?"),
    "unknown format": (["--attention", "cbam", "--format", "tflite"], 2, "unknown format 'tflite'."),
    "no attention": ([], 2, "Missing option '--attention'"),
    "weights and pretrained": (
        ["--attention", "cbam", "--weights", "x.pth", "--pretrained"],
        2,
        "--weights and --pretrained are two answers to one question.",
    ),
    "no such weights": (["--attention", "cbam", "--weights", "nowhere.pth"], 2, "there is no file nowhere.pth."),
    "unknown argument": (["--attention", "cbam", "--arg", "wings=2"], 2, "can't be built with wings=2"),
    "unknown flag": (["--attention", "cbam", "--whre", "final"], 2, "No such option"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_is_one_line_and_leaves_nothing_behind(case, tmp_path, capsys):
    arguments, code, told = REFUSALS[case]
    before = set(tmp_path.iterdir())
    assert call("inject", TINY, *arguments, "--output", tmp_path / "out.safetensors") == code
    error = capsys.readouterr().err
    assert error.startswith("surgeon: ") and told in error and error.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_a_place_that_is_not_there_ends_with_1(tmp_path, capsys):
    assert (
        call(
            "inject",
            "torchvision:vgg11_bn",
            "--attention",
            "cbam",
            "--where",
            "residual",
            "--output",
            tmp_path / "x.safetensors",
        )
        == 1
    )
    error = capsys.readouterr().err
    assert "'residual' found no place in VGG" in error and "Places that do exist here: bottleneck (4)" in error


def test_a_failed_check_ends_with_3(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("surgeon.files.convert.same_bits", lambda before, after: False)
    assert call("inject", TINY, "--attention", "cbam", "--output", tmp_path / "x.safetensors") == 3
    assert "the output differs from the original's" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_fault_of_surgeons_own_is_one_line_too(capsys, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("surgeon.places", broken)
    assert call("places", TINY) == 70
    assert (
        capsys.readouterr().err
        == "surgeon: unexpected ZeroDivisionError: by nought Please report it with what --debug shows.\n"
    )
    assert call("places", TINY, "--debug") == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_existing_target_asks_for_force(tmp_path, capsys):
    target = tmp_path / "x.safetensors"
    target.write_text("precious")
    assert call("inject", TINY, "--attention", "cbam", "--output", target) == 2
    assert f"{target} exists. --force (or force=True) replaces it." in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert call("inject", TINY, "--attention", "cbam", "--output", target, "--force", "--quiet") == 0
    assert surgeon.attention_modules(surgeon.load(target))


def test_the_output_may_be_the_input(injected, capsys):
    before = surgeon.load(injected)
    assert (
        call("inject", injected, "--attention", "bam", "--where", "bottleneck", "--output", injected, "--force", "-q")
        == 0
    )
    after = surgeon.load(injected)
    assert len(surgeon.attention_modules(after)) == len(surgeon.attention_modules(before)) + 3
    assert torch.equal(output(before), output(after))


def test_show_tells_and_quiet_is_quiet(injected, capsys):
    assert call("show", injected) == 0
    printed = capsys.readouterr().out
    for part in (f"{TINY}(num_classes=4)", "cbam at", "the whole network", "SHA-256 of the base"):
        assert part in printed
    assert call("show", injected, "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert call("show", injected, "--json") == 0
    assert json.loads(capsys.readouterr().out)["plans"][0]["attention"] == "cbam"


def test_show_counts_as_inject_does_without_buffers(tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    assert call("inject", "sample:digits", "--attention", "cbam", "-o", path) == 0
    (share,) = re.findall(r"\(\+[\d.]+%\)", capsys.readouterr().out)
    assert call("show", path) == 0 and share in capsys.readouterr().out
    assert call("show", path, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    report = surgeon.report(surgeon.load(path))
    assert (shown["parameters"], shown["parameters of the attention"]) == (report.parameters, report.added)


def test_show_does_not_guess_what_an_older_file_does_not_tell(capsys):
    assert call("show", Path(__file__).parents[1] / "files/golden/v2.safetensors") == 0
    assert "parameters of the attention" in (printed := capsys.readouterr().out)
    assert not re.search(r"^ *parameters +\d", printed, re.MULTILINE)


def test_verify_proves_and_refuses(injected, weights, tmp_path, capsys):
    assert call("verify", injected, weights) == 0
    assert "the base, bit for bit" in capsys.readouterr().out
    other = tiny(None, seed=9)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    assert call("verify", injected, tmp_path / "other.pth") == 2
    assert "is not the base of" in capsys.readouterr().err


def test_verify_says_whether_the_attention_is_still_at_identity(injected, tmp_path, capsys):
    assert call("verify", injected, "--json") == 0
    assert "moves by up to" in json.loads(capsys.readouterr().out)["with attention"]
    surgeon.save(surgeon.inject(tiny(None), "cbam"), tmp_path / "fresh.safetensors")
    assert call("verify", tmp_path / "fresh.safetensors", "--json") == 0
    assert json.loads(capsys.readouterr().out)["with attention"] == "the same output, bit for bit"


def test_check_tells_which_attention_acts(injected, capsys, monkeypatch):
    assert call("check", injected) == 0
    assert re.search(r"^(\d+) of \1 attention modules act$", capsys.readouterr().out, re.MULTILINE)
    assert call("check", injected, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["calls"].values()) == {1} and printed["idle"] == {}
    monkeypatch.setattr("surgeon.check", lambda model, example: Activity({"one": 1, "two": 0}, {"two": "it is gone"}))
    assert call("check", injected) == 3
    out, err = capsys.readouterr()
    assert "two  does not act: it is gone" in out and err == "surgeon: 1 of 2 attention modules do not act.\n"


def test_delta_and_merge_give_the_whole_back(injected, weights, tmp_path, capsys):
    assert call("delta", injected, "-o", tmp_path / "delta.safetensors") == 0
    assert (tmp_path / "delta.safetensors").stat().st_size < injected.stat().st_size / 4
    assert call("merge", weights, tmp_path / "delta.safetensors", "-o", tmp_path / "whole.safetensors") == 0
    assert_same_bits(surgeon.load(tmp_path / "whole.safetensors"), surgeon.load(injected))
    assert intake.open_surgeon_file(tmp_path / "whole.safetensors").recipe == intake.open_surgeon_file(injected).recipe
    capsys.readouterr()
    assert call("places", tmp_path / "delta.safetensors") == 2
    assert "is a delta, attention alone: surgeon merge BASE" in capsys.readouterr().err
    assert call("merge", weights, injected, "-o", tmp_path / "again.safetensors") == 2
    assert "is no delta" in capsys.readouterr().err


def test_merge_refuses_another_base(injected, tmp_path, capsys):
    call("delta", injected, "-o", tmp_path / "delta.safetensors")
    torch.save(tiny(None, seed=5).state_dict(), tmp_path / "other.pth")
    assert (
        call("merge", tmp_path / "other.pth", tmp_path / "delta.safetensors", "-o", tmp_path / "whole.safetensors") == 2
    )
    assert "is not the base of" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert call(command, "--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Example: surgeon {command}" in printed and "--json" in printed and "--quiet" in printed


def test_the_list_of_commands_is_whole():
    assert {command.callback.__name__ for command in app.registered_commands} == {*COMMANDS, "run"}


def test_list_prints_names_that_can_be_built(capsys):
    assert call("places", "--list", "torchvision") == 0
    names = capsys.readouterr().out.split()
    assert "torchvision:resnet50" in names and len(names) > 100
    assert call("places", "--list", "keras") == 2


def test_the_command_runs_as_a_process_and_ends_with_its_code(tmp_path):
    script = "import sys; from surgeon.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "places", "torchvision:resnet5"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "surgeon: torchvision has no network 'resnet5'. Did you mean 'resnet50'?\n"


def test_stirred_networks_are_no_identity():
    assert not torch.equal(output(stir(surgeon.inject(tiny(None), "cbam"))), output(tiny(None)))
    assert_same_bits(tiny(None), tiny(None))


def test_a_movement_that_nobody_can_tell_is_not_told(tmp_path, capsys, monkeypatch):
    def nothing(model, example):
        raise BadInput("it runs on no image that surgeon can think of.")

    monkeypatch.setattr("surgeon.networks.samples.answered", nothing)
    arguments = ["inject", "timm:test_resnet", "--attention", "cbam", "--init", "paper", "-o", tmp_path / "a.pth"]
    assert call(*arguments) == 0
    assert "output not compared: surgeon knows no image" in capsys.readouterr().out
    assert call(*arguments, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["moved"] is None


def test_attention_in_the_place_of_the_networks_own(tmp_path, capsys):
    file, stock = tmp_path / "replaced.safetensors", tmp_path / "stock.safetensors"
    arguments = ["inject", "timm:test_efficientnet", "--attention", "cbam", "--where", "gate", "--replace", "-o", file]
    assert call(*arguments) == 0
    assert "output on a small image: the same as before, bit for bit" in capsys.readouterr().out
    assert call("verify", file) == 0 and call("strip", file, "-o", stock) == 0
    model = surgeon.load(file)
    gates = surgeon.attention_modules(model)
    assert [gate.share.item() for gate in gates.values()] == [0.0, 0.0]
    assert {path.rpartition(".")[0] for path in gates} == {"blocks.3.0.se", "blocks.4.0.se"}
    assert torch.equal(output(model), output(surgeon.remove(surgeon.load(file))))
