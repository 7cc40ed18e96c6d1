"""The blocks of the README, and of the pages that it leads to, run as they stand."""

import html
import re
import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest

import surgeon
from docs.tools import block, pages, places, tour
from surgeon.cli import run
from surgeon.cli.tour.walk import STOPS
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [(ROOT / "docs" / f"{name}.md").read_text() for name in ("places", "training", "pages", "files", "limits")]
TEXT = "\n".join([README, *PAGES])
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(
    "block", [text for kind, text in BLOCKS if kind == "python"], ids=lambda text: text.splitlines()[-1][:30]
)
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # One block loads the file that the command before it writes from downloaded weights.
    surgeon.save(tiny(), "resnet50_cbam.safetensors")
    exec(compile(block, "README.md", "exec"), {})


def test_the_first_example_is_six_lines():
    first = next(text for kind, text in BLOCKS if kind == "python")
    assert sum(bool(line) for line in first.splitlines()) == 6


def test_the_command_that_downloads_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"^surgeon (inject .* --pretrained .*)", TEXT, re.MULTILINE)
    # The weights would be downloaded: a small network with random ones stands in for them.
    words = line.replace("torchvision:resnet50", TINY).replace("--pretrained ", "").split()
    assert run(words) == 0
    assert surgeon.attention_modules(surgeon.load("resnet50_cbam.safetensors"))


@pytest.mark.parametrize("line", re.findall(r"`surgeon ((?:places|plan) [^`]*)`", TEXT))
def test_commands_in_the_text_run(line, capsys):
    assert run(line.replace("\n", " ").split()) == 0
    assert capsys.readouterr().out


def test_the_commands_that_are_named_exist(capsys):
    for command in re.findall(r"`(show|strip|delta|merge|export|verify)`", TEXT):
        assert run([command, "--help"]) == 0


def test_the_commands_of_the_first_screen_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert README.index("pip install . && surgeon tour\n") < README.index("docs/tour.svg") < 2000
    lines = re.findall(r"^surgeon (.*)", README, re.MULTILINE)
    assert len(lines) == 2 and [run(line.split()) for line in lines] == [0, 0]


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_the_pictures_are_current():
    assert block.TARGET.read_text() == block.drawing(), "run: python -m docs.tools.block"
    assert pages.DRAWING.read_text(encoding="utf-8") == pages.drawing(), "run: python -m docs.tools.pages"
    drawings = places.drawings()
    for file, text in drawings.items():
        assert file.read_text(encoding="utf-8") == text, "run: python -m docs.tools.places"
    assert {file for file in drawings if file.parent == places.DRAWINGS} == {*places.DRAWINGS.iterdir()}
    shown = html.unescape(re.sub("<[^>]+>", "", tour.TARGET.read_text())).replace("\xa0", " ")
    assert [stop.command for stop in STOPS if stop.command not in shown] == [], "run: python -m docs.tools.tour"


def test_ci_runs_the_readmes_test_command():
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if "pytest" in line]
    assert lines == ['pip install -e ".[test]" && pytest -n 2']
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_every_package_is_shipped():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    listed = set(settings["options"]["packages"].split())
    folders = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "surgeon").rglob("*.py")}
    assert listed == folders | {"surgeon.rules"}


def test_every_other_file_is_shipped():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    data = {
        ROOT / package.replace(".", "/"): text.split(", ") for package, text in settings["options.package_data"].items()
    }
    shipped = {path for folder, patterns in data.items() for pattern in patterns for path in folder.glob(pattern)}
    files = {path for path in (ROOT / "surgeon").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files - shipped == set()


def test_ci_can_be_run():
    assert shutil.which("bash") is None or (ROOT / ".ci" / "run").stat().st_mode & 0o100
