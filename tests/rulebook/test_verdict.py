"""Checks of rules: found, missing, noisy, wrong, skipped."""

import sys

import pytest

from surgeon.errors import BadModel, UnknownName
from surgeon.networks import library
from surgeon.networks.code import names_code
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import verdict

pytestmark = pytest.mark.network

BOOK = rulebook.load()

CODE = """\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.pool = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 3, 3, 1, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(x + self.two(self.one(x)))

def number():
    return 3

def broken():
    raise RuntimeError("no weights here")
"""


def rule(text, *, id="mine", place="residual", classes="[torchvision.models.resnet.ResNet]"):
    words = "find:\n  op: add\n  from:\n    branch: {layers: most}\n    shortcut: {layers: fewest}\n"
    return rulebook.understand(
        f"id: {id}\nplace: {place}\nabout: A test.\nfor: {classes}\n{words}splice: after branch\nexpect:\n{text}",
        f"{id}.yaml",
    )


def told(*rules, **options):
    return [(verdict.kind, verdict.detail) for verdict in verdict.check(list(rules), BOOK, **options)]


@pytest.mark.parametrize(
    "expected, kind, text",
    [
        ("8", "found", "8"),
        ("9", "missing", "8 of 9: layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, ... (8)"),
        ("7", "noisy", "8 of 7: layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, ... (8)"),
        (
            "[layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, layer4.0, layer4.1]",
            "found",
            "layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, ... (8)",
        ),
        ("[layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, layer4.0]", "noisy", "has layer4.1"),
        (
            "[layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, layer4.0, layer4.1, layer5.0]",
            "missing",
            "lacks layer5.0",
        ),
        (
            "[layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, layer4.0, layer5.0]",
            "wrong",
            "lacks layer5.0 and has layer4.1",
        ),
    ],
)
def test_what_is_expected_is_held_against_what_is_found(expected, kind, text):
    assert told(rule(f"  torchvision:resnet18: {expected}")) == [(kind, text)]


def test_a_network_that_nobody_knows_is_wrong():
    ((kind, text),) = told(rule("  torchvision:resnet19: 8"))
    assert kind == "wrong" and "torchvision has no network 'resnet19'. Did you mean 'resnet18'?" in text


def test_a_checked_rule_takes_the_place_of_another_for_the_same():
    everywhere = rulebook.understand(
        (rulebook.folder() / "residual.yaml").read_text().replace("keep: blocks", "keep: last"), "mine.yaml"
    )
    verdicts = {verdict.network: verdict.kind for verdict in verdict.check([everywhere], BOOK)}
    assert verdicts["torchvision:resnet50"] == "missing" and verdicts["torchvision:vgg16_bn"] == "found"


def test_somebodys_code_is_run_only_when_allowed(tmp_path, monkeypatch):
    (tmp_path / "surgeon_test_networks.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    try:
        mine = rule("  surgeon_test_networks:Net: 1", classes="[surgeon_test_networks.Net]")
        assert told(mine) == [("skipped", "somebody's own code: --allow-imports runs it")]
        assert "surgeon_test_networks" not in sys.modules
        assert told(mine, allow_imports=True) == [("found", "1")]
        with pytest.raises(BadModel, match="makes a int, not a network"):
            library.build("surgeon_test_networks:number")
        with pytest.raises(BadModel, match="can't be called without arguments: RuntimeError: no weights here"):
            library.build("surgeon_test_networks:broken")
        with pytest.raises(UnknownName, match="has no attribute 'Nett'"):
            library.build("surgeon_test_networks:Nett")
        with pytest.raises(UnknownName, match="No module named"):
            library.build("surgeon_test_no_networks:Net")
        assert sys.path == path
    finally:
        sys.modules.pop("surgeon_test_networks", None)


@pytest.mark.parametrize(
    "text, code",
    [
        ("a.b:C.d", True),
        ("a:b", True),
        ("timm:a", False),
        ("torchvision:a", False),
        ("a.pth", False),
        ("C:/a.pth", False),
        ("a:b-c", False),
    ],
)
def test_which_sources_are_code(text, code):
    assert names_code(text) is code


def test_the_survey_counts_every_network_that_is_asked_for():
    counted = list(verdict.survey([rule for rule in BOOK if rule.id in ("residual", "final")], BOOK, "*:resnet1[08]"))
    assert [(v.kind, v.network, v.detail) for v in counted] == [
        ("found", "timm:resnet18", "final 1, residual 8"),
        ("found", "torchvision:resnet18", "final 1, residual 8"),
    ]


@pytest.mark.parametrize("own", [rule.id for rule in BOOK])
def test_own_rules_find_what_they_expect(own):
    rules = [rule for rule in BOOK if rule.id == own]
    verdicts = list(verdict.check(rules, BOOK, allow_imports=True))
    assert verdicts and not [str(verdict) for verdict in verdicts if verdict.kind != "found"]
