"""Every rule file finds what its `expect:` says, in networks by name."""

import pytest

from surgeon.anatomy.watch import observed
from surgeon.networks import library
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match
from surgeon.surgery import aim

pytestmark = pytest.mark.network

RULES = [rulebook.read(file) for file in sorted(rulebook.folder().rglob("*.yaml"))]
CASES = [(rule, name) for rule in RULES for name in rule.expect]


def test_every_rule_expects_something():
    assert [rule.id for rule in RULES if not rule.expect] == []


def test_every_rule_is_tested_once():
    assert len({rule.id for rule in RULES}) == len(RULES) >= 4


@pytest.mark.parametrize(("rule", "name"), CASES, ids=[f"{rule.id}-{name}" for rule, name in CASES])
def test_expectation(rule, name):
    model = library.build(name, empty=True)
    with observed(model) as observation:
        found = match.candidates(*rulebook.for_place(rule.place, RULES), observation.scene)
        anchors = aim.targets(observation, rule.place, RULES) if found else []
    wanted = rule.expect[name]
    modules = tuple(anchor.module for _, anchor in anchors)
    assert (len(modules) if isinstance(wanted, int) else modules) == wanted


def test_a_wrong_expectation_is_noticed():
    rule = next(rule for rule in RULES if rule.id == "residual")
    with pytest.raises(AssertionError):
        test_expectation(rule.model_copy(update={"expect": {"torchvision:resnet18": 9}}), "torchvision:resnet18")
