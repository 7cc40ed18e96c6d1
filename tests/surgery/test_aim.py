"""What `where=` may be: places, module paths, globs, classes and their names, rule files, and lists of these."""

from pathlib import Path

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadOption, NoSite, UnknownName
from surgeon.paths import lies_in, matches
from tests.shared import toy


class Stage(nn.Sequential):
    """Two residual blocks."""

    def __init__(self):
        super().__init__(toy.Residual(), toy.Residual())


class Network(nn.Module):
    """A stem, two stages in a list that never runs itself, and a head; a stage is called as a place is."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(toy.conv(3, 8), nn.MaxPool2d(2))
        self.stages = nn.ModuleList([Stage(), Stage()])
        self.residual = toy.conv(8, 8)
        self.unused = toy.conv(8, 8)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(nn.functional.max_pool2d(x, 2))
        return self.head(self.residual(x))


BLOCKS = ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"]
# What is meant, and the modules that own the attention then.
AIMS = {
    "a path": ("stages.0", ["stages.0"]),
    "a path of one name": ("stem", ["stem"]),
    "a star stays within a dot": ("stages.*", ["stages.0", "stages.1"]),
    "a star in the middle": ("stages.*.1", ["stages.0.1", "stages.1.1"]),
    "two stars do not": ("**.conv", [f"{block}.conv" for block in BLOCKS]),
    "two stars may be nothing": ("stages.**.0", ["stages.0.0", "stages.0", "stages.1.0"]),
    "a part of a name": ("st[e]m.?", ["stem.0", "stem.1"]),
    "a class": (Stage, ["stages.0", "stages.1"]),
    "a class of torch": (nn.MaxPool2d, ["stem.1"]),
    "the public name of a class": ("torch.nn.MaxPool2d", ["stem.1"]),
    "the full name of a class": (f"{__name__}.Stage", ["stages.0", "stages.1"]),
    "the bare name of a class": ("Residual", BLOCKS),
    "several": (["stages.1", nn.MaxPool2d, "stem.1"], ["stem.1", "stages.1"]),
    "a place and a module": (["residual", "stem"], ["stem", *BLOCKS]),
}


def owners(where, **arguments):
    return [site.module for site in surgeon.plan(Network(), toy.Mark, where=where, **arguments)]


@pytest.mark.parametrize("case", AIMS)
def test_what_is_meant(case):
    where, wanted = AIMS[case]
    assert owners(where) == wanted


def test_the_bits_stay_and_everything_comes_out():
    model, x = Network().eval(), toy.image(64)
    before, keys = model(x), list(model.state_dict())
    surgeon.inject(model, "cbam", where=[Stage, "stem", "*.0.1.conv"], check="output")
    assert len(surgeon.attention_modules(model)) == 4 and torch.equal(model(x), before)
    assert list(surgeon.remove(model).state_dict()) == keys


def test_the_name_of_a_place_means_the_place():
    # A module of this name is meant by its class, or by a pattern that is no place's name.
    assert owners("residual") == BLOCKS and owners("residua[l]") == ["residual"]


def test_a_place_of_ones_own_wins_as_well(tmp_path):
    (tmp_path / "stem.yaml").write_text("id: stem\nabout: the image\nfind: {is: image}\nsplice: before first use\n")
    assert owners("stem", rules=tmp_path) != owners("stem") == ["stem"]
    assert owners(Path(tmp_path / "stem.yaml")) == owners("input")


REFUSED = {
    "a typo": (UnknownName, "stm", "unknown place 'stm'. Known: bottleneck, final, gate, input, residual. Modules that run: stem, residual, head."),
    "a path that is not there": (NoSite, "stages.7", "'stages.7' matches no module that runs. Did you mean 'stages.1'? Known: "),
    "a list of modules": (NoSite, "stages", "'stages' is a module of Network whose forward does not run. Choose what runs in it: 'stages.*'."),
    "a module that does not run": (NoSite, "unused", "'unused' is a module of Network whose forward does not run."),
    "a class that is not there": (NoSite, nn.Conv3d, "no Conv3d runs in Network. Did you mean 'Conv2d'? Known: "),
    "another class": (BadOption, int, "where can't be an object of type. It is a place such as 'residual', "),
    "a number": (BadOption, 4, "where can't be an object of int. It is a place such as 'residual', "),
    "a module": (BadOption, nn.Sequential(nn.ReLU()), "where can't be an object of Sequential. It is a place such as 'residual', "),
    "a list of modules themselves": (BadOption, [nn.ReLU()], "where can't be an object of ReLU. It is a place such as 'residual', "),
    "nothing": (BadOption, None, "where can't be an object of NoneType. It is a place such as 'residual', "),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    error, where, line = REFUSED[case]
    with pytest.raises(error) as caught:
        owners(where)
    told = str(caught.value)
    assert (told == line or line.endswith((": ", ", ")) and told.startswith(line)) and "\n" not in told


MATCHES = [
    ("a.b.c", "a.b.c", True), ("a.b.c", "a.*.c", True), ("a.b.c", "a.*", False), ("a.b.c", "*", False),
    ("a.b.c", "**", True), ("a.b.c", "**.c", True), ("c", "**.c", True), ("a.b.c", "a.**", True),
    ("a", "a.**", True), ("b.a", "a.**", False), ("a.b.c", "a.**.**.c", True), ("a.bx.c", "a.b?.c", True),
    ("a.B.c", "a.b.c", False), ("", "**", True), ("a.b.c", "**.b", False),
]  # fmt: skip


@pytest.mark.parametrize(("path", "pattern", "wanted"), MATCHES)
def test_patterns(path, pattern, wanted):
    assert matches(path, pattern) is wanted


def test_what_lies_in_a_module():
    assert lies_in("layer3.0.cbam", "layer3") and lies_in("layer3.0.cbam", "layer3.*") and lies_in("a", "a")
    assert not lies_in("layer3.0.cbam", "layer") and not lies_in("layer3.0.cbam", "0")


def test_gates_are_chosen_by_the_modules_that_hold_them():
    model = surgeon.inject(Network(), "cbam")
    with surgeon.disabled(model, "stages.1"):
        found = {path: gate.enabled for path, gate in surgeon.attention_modules(model).items()}
    assert found == {f"{block}.cbam": block.startswith("stages.0") for block in BLOCKS}
    assert [site.module for site in surgeon.plan(Network(), "se").only("stages.0")] == BLOCKS[:2]
    assert [site.module for site in surgeon.plan(Network(), "se").without("*.0")] == BLOCKS[2:]


RULE = "id: mine\nabout: behind each\nfind: {after: torch.nn.modules.pooling.MaxPool2d%s}\n"


def test_a_rule_names_what_makes_the_value(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(RULE % "")
    # The whole stem ends with that value, and its rule file may say so: nobody takes the pool alone from it.
    assert owners(file) == ["stem"]


def test_words_of_what_makes_and_what_takes_a_value_hold_together(tmp_path):
    file, network = tmp_path / "mine.yaml", nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2), toy.conv(3, 8))
    file.write_text(RULE % ", before: torch.nn.modules.conv.Conv2d")
    plan = surgeon.plan(network, toy.Mark, where=file, example_inputs=toy.image(64))
    assert [site.module for site in plan] == ["2"]
    file.write_text(RULE % ", before: torch.nn.modules.batchnorm.BatchNorm2d")
    with pytest.raises(NoSite):
        surgeon.plan(network, toy.Mark, where=file, example_inputs=toy.image(64))
