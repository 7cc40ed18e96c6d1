"""`surgeon run`: a script that knows nothing of surgeon opens folders that surgeon wrote."""

import subprocess
import sys

import pytest

import surgeon
from surgeon.cli import run
from tests.shared.folders import needed
from tests.shared.small import tiny

pytestmark = pytest.mark.network

SCRIPT = """
import sys
import beside, timm
assert __name__ == "__main__"
model = timm.create_model(sys.argv[1], pretrained=True)
print(sum("cbam" in key for key in model.state_dict()), sys.argv[1:], beside.WORD)
sys.exit(int(sys.argv[2]))
"""


def called(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(SCRIPT)
    (tmp_path / "code" / "beside.py").write_text("WORD = 'here'")
    surgeon.save(tiny(), tmp_path / "net")
    return tmp_path


@needed
def test_the_script_runs_as_it_is(folder):
    plain, _, why = called(folder, "code/train.py", "local-dir:net", "3")
    assert plain == 1 and "surgeon_network" in why
    code, printed, _ = called(folder, "-m", "surgeon.cli", "run", "code/train.py", "local-dir:net", "3", "--debug")
    gates = sum("cbam" in key for key in tiny().state_dict())
    assert (code, printed) == (3, f"{gates} ['local-dir:net', '3', '--debug'] here\n")


@needed
def test_its_errors_are_its_own_and_ours_are_one_line(folder):
    code, _, told = called(folder, "-m", "surgeon.cli", "run", "code/train.py", "local-dir:net")
    assert code == 1 and "Traceback" in told and "IndexError" in told
    code, _, told = called(folder, "-m", "surgeon.cli", "run", "nothing.py")
    assert (code, told) == (2, "surgeon: there is no script nothing.py.\n")


def test_without_a_script_the_command_says_how(capsys):
    assert run(["run"]) == 2 and "surgeon run train.py --model local-dir:FOLDER" in capsys.readouterr().err
    assert run(["run", "--help"]) == 0 and "torchrun" in capsys.readouterr().out
