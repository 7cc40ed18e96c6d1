"""`surgeon rules`: what it prints and how it ends."""

import json
import re

import pytest

from surgeon.cli import run
from surgeon.rulebook import book as rulebook

pytestmark = pytest.mark.network

RULE = """\
id: {id}
place: residual
about: A test.
for: [torchvision.models.resnet.ResNet]
find:
  op: add
  from:
    branch: {{layers: most}}
    shortcut: {{layers: fewest}}
splice: after branch
expect:
  torchvision:resnet18: {expect}
"""


@pytest.fixture
def surgeon(capsys):
    """Runs the command: (exit code, what it printed, what it complained of)."""

    def command(*arguments):
        code = run(["rules", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def written(folder, *, id="mine", expect=8):
    folder.mkdir(exist_ok=True)
    (folder / f"{id}.yaml").write_text(RULE.format(id=id, expect=expect))
    return folder


def test_list_and_show(surgeon, tmp_path):
    code, out, err = surgeon("list", "--rules", written(tmp_path / "rules"))
    assert (code, err) == (0, "") and re.search(r"^mine +residual +ResNet +A test\.", out, re.MULTILINE)
    assert re.search(r"^residual +residual +any network", out, re.MULTILINE)
    code, out, _ = surgeon("list", "--json")
    assert {rule["id"] for rule in json.loads(out)} == {rule.id for rule in rulebook.load()}
    code, out, _ = surgeon("show", "residual")
    file = rulebook.folder() / "residual.yaml"
    assert code == 0 and out == f"# {file}\n{file.read_text().rstrip()}\n"
    code, out, err = surgeon("show", "residul")
    assert (code, out) == (2, "") and err.startswith("surgeon: unknown rule 'residul'. Did you mean 'residual'?")


def test_explain(surgeon):
    code, out, _ = surgeon("explain", "torchvision:resnet18", "--where", "bottleneck")
    assert code == 0 and out.startswith("bottleneck in ResNet: 3 found, 3 looked at and not taken\n")
    code, out, _ = surgeon("explain", "torchvision:resnet18", "--where", "final", "--json")
    cases = json.loads(out)["cases"]
    assert [case["site"]["module"] for case in cases if case["site"]] == ["layer4"]
    code, out, err = surgeon("explain", "torchvision:resnet18", "--where", "botleneck")
    assert (
        (code, out) == (2, "")
        and err.startswith("surgeon: unknown place 'botleneck'. Did you mean 'bottleneck'?")
        and err.count("\n") == 1
    )


def test_explain_as_a_page(surgeon, tmp_path):
    page = tmp_path / "why.html"
    code, out, _ = surgeon("explain", "timm:test_resnet", "--html", page)
    text = page.read_text(encoding="utf-8")
    assert code == 0 and out == f"written: {page}\n"
    assert "surgeon rules explain timm:test_resnet --where residual" in text
    # The line that adds, and what is around it; what a word of the rule said; and where attention goes.
    assert re.search(r"<b>x \+= shortcut</b>\n.*x = self.act2\(x\)", text) and "<b>yes</b>" in text
    assert "Attention after bn2 of layer1.0" in text
    code, _, err = surgeon("explain", "timm:test_resnet", "--html", page)
    assert code == 2 and "--force" in err
    code, out, _ = surgeon("explain", "timm:test_resnet", "--html", page, "--force", "--json")
    assert code == 0 and json.loads(out)["place"] == "residual"


def test_a_page_of_nothing_names_the_operators(surgeon, tmp_path):
    assert surgeon("explain", "torchvision:alexnet", "--html", tmp_path / "why.html")[0] == 0
    text = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "0 found, 0 looked at" in text and "Nothing to look at. The operators of this network: " in text


@pytest.mark.parametrize(
    "expect, kind, code", [(8, "found", 0), (9, "missing", 3), (7, "noisy", 3), ("[a, b]", "wrong", 3)]
)
def test_check(surgeon, tmp_path, expect, kind, code):
    ended, out, err = surgeon("check", written(tmp_path / "rules", expect=expect))
    first, last = out.splitlines()
    assert ended == code and first.split()[:3] == [kind, "mine", "torchvision:resnet18"] and last == f"1 {kind}"
    assert err == ("" if code == 0 else "surgeon: 1 of 1 cases are not as expected.\n")


def test_check_quiet_json_and_all(surgeon, tmp_path):
    folder = written(tmp_path / "rules")
    assert surgeon("check", folder, "--quiet") == (0, "", "")
    code, out, _ = surgeon("check", folder, "--json")
    assert json.loads(out) == [{"kind": "found", "rule": "mine", "network": "torchvision:resnet18", "detail": "8"}]
    code, out, _ = surgeon("check", folder, "--all", "--only", "torchvision:resnet1?")
    assert code == 0 and out.split() == ["found", "torchvision:resnet18", "residual", "8", "1", "found"]
    code, _, err = surgeon("check", folder, "--only", "torchvision:*")
    assert code == 2 and err == "surgeon: --only narrows --all: give both.\n"


def test_a_broken_file_is_one_line(surgeon, tmp_path):
    file = written(tmp_path / "rules") / "mine.yaml"
    file.write_text(file.read_text().replace("op: add", "opp: add"))
    code, out, err = surgeon("check", file)
    assert (
        (code, out) == (2, "")
        and err.startswith(f"surgeon: unknown word 'opp' in find ({file}, line 6). Did you mean 'op'?")
        and err.count("\n") == 1
    )
    assert surgeon("check", tmp_path / "none.yaml") == (2, "", f"surgeon: {tmp_path}/none.yaml: no such rule file.\n")


def test_rivals_are_both_named(surgeon, tmp_path):
    folder = written(tmp_path / "rules")
    written(folder, id="yours")
    code, out, err = surgeon("list", "--rules", folder)
    assert (code, out) == (2, "") and f"mine ({folder}/mine.yaml) and yours ({folder}/yours.yaml). Remove one." in err


def test_new_writes_a_rule_that_passes_and_replaces_nothing_unasked(surgeon, tmp_path):
    file = tmp_path / "new" / "rule.yaml"
    assert surgeon("new", "torchvision:resnet18", "-o", file) == (0, f"written: {file}\n", "")
    text = file.read_text()
    assert surgeon("check", file)[0] == 0
    code, _, err = surgeon("new", "torchvision:vgg11", "-o", file)
    assert (
        code == 2
        and err == f"surgeon: {file} is there already. Give --force to replace it.\n"
        and file.read_text() == text
    )
    assert surgeon("new", "torchvision:vgg11", "-o", file, "--force")[0] == 0 and "VGG" in file.read_text()
    code, out, _ = surgeon("new", "torchvision:resnet18", "--where", "final")
    assert code == 0 and rulebook.understand(out, "out").expect == {"torchvision:resnet18": ("layer4",)}


def test_schema(surgeon):
    code, out, _ = surgeon("schema")
    schema = json.loads(out)
    assert code == 0 and schema["additionalProperties"] is False and schema["required"] == ["id", "about", "find"]


@pytest.mark.parametrize("command", ["list", "show", "explain", "check", "new", "schema"])
def test_help_has_an_example(surgeon, command):
    code, out, _ = surgeon(command, "--help")
    assert code == 0 and f"Example: surgeon rules {command}" in " ".join(out.split())
