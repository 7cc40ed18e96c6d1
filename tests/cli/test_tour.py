"""`surgeon tour`: what it shows is so, its folder appears whole or not at all, and nobody else's is touched."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from safetensors.torch import load_file

import surgeon
from surgeon.cli import run
from surgeon.cli.tour import __main__ as alone
from surgeon.cli.tour import leaving
from surgeon.cli.tour.walk import STOPS, Figures, Walk, gain

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    """(the folder that a tour left, what it printed)"""
    room = tmp_path_factory.mktemp("tour")
    done = subprocess.run(
        [sys.executable, "-m", "surgeon.cli", "tour"], cwd=room, capture_output=True, text=True, check=True
    )
    return room / "surgeon-tour", done.stdout


def test_every_stop_prints_its_command(toured):
    folder, shown = toured
    assert [line.strip() for line in shown.splitlines() if line.startswith("   $")] == [f"$ {s.command}" for s in STOPS]
    assert {path.name for path in folder.iterdir()} == {*leaving.NAMES}


def test_the_figures_are_so(toured):
    figures = Figures(**json.loads((toured[0] / "figures.json").read_text()))
    assert figures.same_bits and figures.is_original and figures.before == figures.put_in > figures.paper
    assert any(figures.opened.values())
    images, labels = surgeon.samples.digits("test")
    tuned = surgeon.load(toured[0] / "digits_cbam.safetensors")
    assert figures.tuned == alone.accuracy(tuned, images, labels)
    assert gain(figures) in toured[1]


def test_the_page_stands_alone(toured):
    page = (toured[0] / "index.html").read_text()
    assert "<script" not in page and "http" not in page and "prefers-color-scheme: dark" in page
    assert all(stop.title in page for stop in STOPS)
    # Bars are of what goes wrong: the longest is as wide as its line.
    figures = Figures(**json.loads((toured[0] / "figures.json").read_text()))
    accuracies = (figures.before, figures.put_in, figures.paper, figures.tuned)
    wrong = [round(500 * (1 - accuracy)) for accuracy in accuracies]
    assert re.findall(r"<td>(\d+)<td", page) == [str(count) for count in wrong]
    assert re.findall(r"width: ([\d.]+)%\"", page) == [f"{100 * count / max(wrong):.1f}" for count in wrong]


def test_the_commands_do_the_same_one_by_one(toured, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    figures = Figures(**json.loads((toured[0] / "figures.json").read_text()))
    for stop in STOPS:
        program, *words = stop.command.split()
        if program == "surgeon":
            assert run(words) == 0
        else:
            alone.main(words[2:])
    assert f"accuracy {figures.before:.3f}" in capsys.readouterr().out
    alone.main(["accuracy", "tuned.safetensors"])
    # The attention's first weights are drawn: another draw, and no other network.
    assert abs(float(capsys.readouterr().out.split()[1]) - figures.tuned) <= 0.02
    original = surgeon.samples.load("digits").state_dict()
    assert all(value.equal(original[key]) for key, value in load_file("digits.safetensors").items())


def test_its_six_lines_of_python_run(toured, tmp_path):
    program = (toured[0] / "tour.py").read_text()
    assert len(program.splitlines()) == 6
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    figures = json.loads((toured[0] / "figures.json").read_text())
    assert f"accuracy {figures['before']:.3f}" in done.stdout
    assert (tmp_path / "digits_cbam.safetensors").is_file()


@pytest.mark.parametrize(("tuned", "words"), [
    (0.986, "6 more of 500 images right"), (0.976, "1 more of 500 images right, which chance gives as well"), (0.974, "fine-tuning gained nothing"),
    (0.97, "fine-tuning gained nothing and lost 2 of 500 images"),
])  # fmt: skip
def test_it_says_what_fine_tuning_gains(tuned, words):
    assert gain(Figures(before=0.974, tuned=tuned)) == words


def test_its_own_folder_is_replaced_and_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("surgeon.cli.tour.walk.STOPS", STOPS[:1])
    folder = tmp_path / "here"
    assert run(["tour", "-o", str(folder), "--quiet"]) == run(["tour", "-o", str(folder), "--quiet"]) == 0
    (folder / "thesis.tex").write_text("mine")
    capsys.readouterr()
    assert run(["tour", "-o", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'thesis.tex', which no tour left: nothing was touched" in error
    assert (folder / "thesis.tex").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    assert run(["tour", "-o", str(tmp_path / "file")]) == 2 and (tmp_path / "file").read_text() == "mine"


def interrupt(walk: Walk) -> str:
    (walk.folder / "half").write_text("half")
    raise KeyboardInterrupt


def test_interrupted_it_leaves_nothing_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("surgeon.cli.tour.walk.STOPS", (STOPS[0]._replace(do=interrupt),))
    assert run(["tour", "-o", str(tmp_path / "here")]) == 130
    assert capsys.readouterr().err == (
        "surgeon: interrupted; nothing was written. surgeon tour begins anew, and takes a minute.\n"
    )
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_ctrl_c_in_a_terminal_is_heard(tmp_path):
    command = [sys.executable, "-u", "-m", "surgeon.cli", "tour"]
    # A process that ignores the signal, as one in the background does, would hand that down.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    tour = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert tour.stdout is not None and tour.stdout.readline().startswith("1.")
    os.kill(tour.pid, signal.SIGINT)
    assert "surgeon tour begins anew" in tour.communicate()[1]
    assert tour.returncode == 130 and not [*tmp_path.iterdir()]
