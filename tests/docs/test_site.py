"""The site: it is built without a warning, its reference has every public name, and what its tutorial says runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import surgeon
from docs.tools import notebook

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def public():
    """Where each public name of surgeon's comes from, as its stub says."""
    stub = (ROOT / "surgeon" / "__init__.pyi").read_text(encoding="utf-8")
    named = re.findall(r"^from \.(\S+) import (\w+)", stub, re.MULTILINE)
    for package in re.findall(r"^from \. import (\w+)", stub, re.MULTILINE):
        inner = (ROOT / "surgeon" / package / "__init__.pyi").read_text(encoding="utf-8")
        named += [
            (f"{package}.{file}", name) for file, name in re.findall(r"^from \.(\S+) import (\w+)", inner, re.MULTILINE)
        ]
    return sorted(f"surgeon.{module}.{name}" for module, name in named)


def test_the_reference_has_every_public_name_once():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: (\S+)", text, re.MULTILINE)) == public()


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL):
        exec(compile(block, "tutorial.md", "exec"), known)
    assert known["accuracy"](known["model"], known["images"], known["labels"]) > 0.9
    assert (tmp_path / "gates.csv").read_text().count("\n") > 8
    assert "cbam at 4 sites" in capsys.readouterr().out
    assert not surgeon.attention_modules(known["again"])


@pytest.mark.tools
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason='pip install -e ".[docs]"')
    pytest.importorskip("mkdocstrings", reason='pip install -e ".[docs]"')
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "surgeon tour" in page and 'src="https:' not in page and 'href="places/"' in page
    reference = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in reference for name in public())


def test_the_notebook_is_the_tutorial():
    assert notebook.TARGET.read_text(encoding="utf-8") == notebook.notebook(), "run: python -m docs.tools.notebook"


@pytest.mark.tools
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason='pip install -e ".[notebook]"')
    nbclient = pytest.importorskip("nbclient", reason='pip install -e ".[notebook]"')
    pytest.importorskip("ipykernel", reason='pip install -e ".[notebook]"')
    book = nbformat.reads(notebook.notebook(), as_version=4)
    nbformat.validate(book)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    tables = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert "cbam at 4 sites" in tables[0] and len(tables) >= 2
