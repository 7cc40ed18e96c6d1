"""From rules and a run to candidates."""

import pytest
from torch import nn

from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match
from tests.shared import toy
from tests.shared.seen import scene

RULE = "id: {id}\nplace: residual\nabout: a test\n{more}find:\n  op: add\n  from:\n    branch: {{layers: most, rank: map}}\n    shortcut: {{layers: fewest}}\n  keep: {keep}\nsplice: after branch\n"


@pytest.fixture
def rule(tmp_path):
    def made(id="mine", keep="each", more=""):
        file = tmp_path / f"{id}.yaml"
        file.write_text(RULE.format(id=id, keep=keep, more=more))
        return rulebook.read(file)

    return made


class Outer(nn.Module):
    """A residual block around two others: the inner adds belong to its branch."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(toy.Residual(), toy.Residual())

    def forward(self, x):
        y = self.branch(x)
        return nn.functional.conv2d(y, self.branch[0].conv.weight, padding=1) + x


def paths(found):
    return [candidate.graph.path for candidate, _ in found]


def test_candidates_come_in_order_of_execution(rule):
    net = toy.Net(nn.Sequential(toy.TwoAdds(), toy.Residual()))
    found = match.candidates(rule(), [], scene(net))
    assert paths(found) == ["block.0", "block.0", "block.1"]
    assert [c.value.order for c, _ in found] == sorted(c.value.order for c, _ in found)


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        ("each", ["block.branch.0", "block.branch.1", "block"]),
        ("outermost", ["block"]),
        ("blocks", ["block"]),
        ("last", ["block"]),
    ],
)
def test_keep(keep, wanted, rule):
    assert paths(match.candidates(rule(keep=keep), [], scene(toy.Net(Outer())))) == wanted


def test_a_rule_for_a_class_wins_inside_it(rule):
    general = rule()
    special = rule(id="theirs", keep="last", more="for: [tests.shared.toy.TwoAdds]\n")
    found = match.candidates(general, [special], scene(toy.Net(nn.Sequential(toy.TwoAdds(), toy.Residual()))))
    assert [(c.graph.path, mine.id) for c, mine in found] == [("block.0", "theirs"), ("block.1", "mine")]


def test_a_rule_for_a_base_class_holds_for_those_derived(rule):
    special = rule(more="for: [tests.shared.toy.Residual]\n")
    assert paths(match.candidates(None, [special], scene(toy.Net(toy.InPlace())))) == ["block"]


def test_a_class_may_have_no_such_place(rule, tmp_path):
    (tmp_path / "none.yaml").write_text(
        "id: none\nplace: residual\nabout: nothing\nfor: [tests.shared.toy.TwoAdds]\nfind: null\n"
    )
    nothing = rulebook.read(tmp_path / "none.yaml")
    found = match.candidates(rule(), [nothing], scene(toy.Net(nn.Sequential(toy.TwoAdds(), toy.Residual()))))
    assert paths(found) == ["block.1"]


def test_inside_narrows_the_scene(rule, tmp_path):
    text = RULE.format(id="inside", keep="each", more="").replace("  op: add", "  inside: block.1\n  op: add")
    (tmp_path / "inside.yaml").write_text(text)
    found = match.find(
        rulebook.read(tmp_path / "inside.yaml"), scene(toy.Net(nn.Sequential(toy.Residual(), toy.Residual())))
    )
    assert [candidate.graph.path for candidate in found] == ["block.1"]


def test_before_takes_each_of_the_maps_that_a_module_is_given(tmp_path):
    class Detect(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([toy.conv(8, 2), toy.conv(8, 2)])

        def forward(self, maps):
            return [conv(x) for conv, x in zip(self.convs, maps)]

    class Detector(toy.Net):
        def __init__(self):
            super().__init__()
            self.detect = Detect()

        def forward(self, x):
            large = self.block(self.stem(x))
            return self.detect([large, self.down(large)])

    name = f"{Detect.__module__}.{Detect.__qualname__}"
    (tmp_path / "heads.yaml").write_text(f"id: heads\nabout: a test\nfind: {{before: {name}, rank: map}}\n")
    model = Detector()
    found = match.find(rulebook.read(tmp_path / "heads.yaml"), scene(model))
    assert [candidate.value.shape[-1] for candidate in found] == [8, 4]
