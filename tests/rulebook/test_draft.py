"""Drafted rules say what was seen, and pass their own check as they stand."""

import pytest
import timm
import torch
from torch import nn

from surgeon.anatomy.watch import observed
from surgeon.errors import BadModel, UnknownName
from surgeon.networks import library
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import verdict
from surgeon.rulebook.draft import MOST_LINES, draft
from tests.shared import toy

pytestmark = pytest.mark.network

BOOK = rulebook.load()
NETWORKS = [
    "torchvision:resnet18",
    "torchvision:vgg11_bn",
    "torchvision:fasterrcnn_mobilenet_v3_large_fpn",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
    "timm:dla34",
]


@pytest.mark.parametrize("network", NETWORKS)
def test_drafts_pass_their_own_check(network):
    model = library.build(network, empty=True)
    for where in rulebook.places(BOOK):
        rule = rulebook.understand(draft(model, where, source=network), "draft.yaml")
        assert rule.place == where and len(rule.classes) == 1 and list(rule.expect) == [network]
        assert rule.id not in {known.id for known in BOOK}
        (told,) = verdict.check([rule], BOOK)
        assert told.kind == "found", str(told)


def test_a_draft_shows_the_structure_and_copies_the_words():
    text = draft(library.build("torchvision:resnet18", empty=True), "bottleneck", source="torchvision:resnet18")
    lines = text.splitlines()
    assert "#   a map of 64 x 56 x 56 (NCHW) goes into layer2: smaller" in lines
    assert "#   a map of 512 x 7 x 7 (NCHW) goes into avgpool: pool" in lines
    assert "# bottleneck in ResNet: 3 found, 3 looked at and not taken" in lines
    rule, general = rulebook.understand(text, "draft.yaml"), next(rule for rule in BOOK if rule.id == "bottleneck")
    assert (rule.id, rule.classes) == ("resnet_bottleneck", ("torchvision.models.resnet.ResNet",))
    assert (rule.find, rule.splice) == (general.find, general.splice)
    assert rule.expect == {"torchvision:resnet18": ("layer1", "layer2", "layer3")}


def test_a_network_without_a_name_has_nothing_to_expect():
    text = draft(toy.Net(), "residual", example_inputs=toy.image())
    rule = rulebook.understand(text, "draft.yaml")
    assert rule.expect == {} and "# expect: {package.module:Class: 1}" in text


def test_an_own_rule_for_the_class_is_pointed_at():
    own = next(rule for rule in BOOK if rule.id == "parallel_bottleneck")
    text = draft(library.build("timm:hrnet_w18_small", empty=True), "bottleneck", source="timm:hrnet_w18_small")
    assert f"# {own} is for this class and place already: edit that one." in text.splitlines()
    rule = rulebook.understand(text, "draft.yaml")
    assert (
        rule.id == "highresolutionnet_bottleneck" and rule.find is None and rule.expect == {"timm:hrnet_w18_small": 0}
    )


def test_a_draft_copies_what_a_rule_says_of_its_pixels():
    hiera = next(rule for rule in BOOK if rule.id == "hiera_residual")
    text = draft(library.build("timm:hiera_tiny_224", empty=True), "residual", source="timm:hiera_tiny_224")
    assert rulebook.understand(text, "draft.yaml").pixels == hiera.pixels == "shuffled"


def test_what_can_not_be_rewritten_is_drafted_at_the_sum():
    class Net(toy.Net):
        """Its own class, since a rule for toy.Net would speak for the other tests' too."""

    text = draft(Net(toy.Squashing()), "residual", example_inputs=toy.image())
    rule = rulebook.understand(text, "draft.yaml")
    assert rule.splice == "after value" and rule.find.op == "add"
    assert rule.classes == (f"{Net.__module__}.{Net.__qualname__}",)


def test_classes_of_torch_have_no_rules():
    with pytest.raises(BadModel, match="give the network a class of its own"):
        draft(nn.Sequential(toy.conv(3, 8), toy.Residual()), "residual", example_inputs=toy.image())


def test_a_draft_stays_short_and_plain():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(toy.conv(3, 3) for _ in range(40))

        def forward(self, x):
            for number, conv in enumerate(self.convs):
                exec(
                    compile("\n" * number + "y = x + conv(x)  # \x0c odd\x85", f"odd\x07{number}", "exec"),
                    scope := {"x": x, "conv": conv},
                )
                x = scope["y"]
            return x

    text = draft(Odd(), "residual", example_inputs=torch.zeros(2, 3, 16, 16))
    assert len(text.splitlines()) < MOST_LINES + 40
    assert rulebook.understand(text, "draft.yaml").place == "residual"


def test_timm_grown_models_are_drafted_for_their_own_class():
    text = draft(timm.create_model("resnet18"), "residual", source="timm:resnet18")
    assert rulebook.understand(text, "draft.yaml").classes == ("timm.models.resnet.ResNet",)


class Part(nn.Module):
    """The last part of a block, which is handed the shortcut."""

    def __init__(self):
        super().__init__()
        self.conv = toy.conv(8, 8)

    def forward(self, x, shortcut):
        return self.conv(x) + shortcut


class Handing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.part = toy.conv(8, 8), Part()

    def forward(self, x):
        return self.part(self.first(x), x)


class Handed(nn.Module):
    """Two blocks that no general rule finds, and one that it does."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = toy.conv(3, 8, 2), nn.Sequential(Handing(), Handing(), toy.Residual())

    def forward(self, x):
        return self.body(self.stem(x)).mean((2, 3))


def test_a_draft_names_the_blocks_that_need_an_origin():
    text = draft(Handed(), "residual", source="tests.rulebook.test_draft:Handed", example_inputs=toy.image())
    lines = text.splitlines()
    (said,) = (line for line in lines if f"2 x {Part.__module__}.Part" in line)
    assert said == f"#   2 x {Part.__module__}.Part (shortcut: origin: outside): body.0.part, body.1.part"
    assert "# Such a rule is drafted by: surgeon rules new tests.rulebook.test_draft:Handed --block Part" in lines
    assert rulebook.understand(text, "draft.yaml").expect == {"tests.rulebook.test_draft:Handed": ("body.2",)}


@pytest.mark.parametrize("block", ["Part", f"{Part.__module__}.Part"])
def test_a_draft_for_a_block_has_the_origin_and_the_rule_that_leaves_the_rest_out(block):
    network = "tests.rulebook.test_draft:Handed"
    text = draft(Handed(), "residual", source=network, block=block, example_inputs=toy.image())
    rule = rulebook.understand(text, "draft.yaml")
    assert rule.classes == (f"{Part.__module__}.Part",)
    assert {name: operand.origin for name, operand in rule.find.words()["from"].items()} == {
        "branch": None, "shortcut": "outside",
    }  # fmt: skip
    assert rule.expect == {network: ("body.0.part", "body.1.part", "body.2")}
    empty = "\n".join(line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   "))
    assert "# Outside of these blocks other rules find 1 more: body.2." in text.splitlines()
    none = rulebook.understand(empty[empty.index("id: handed_residual_none") :], "none.yaml")
    assert none.find is None and none.classes == (f"{Handed.__module__}.Handed",)
    with observed(Handed(), toy.image()) as observation:
        owners = verdict.owners("residual", observation, verdict.merged([rule, none], BOOK))
    assert owners == ["body.0.part", "body.1.part"]


def test_a_block_that_does_not_run_is_named():
    with pytest.raises(UnknownName, match="no Prat runs in Handed. Did you mean 'Part'?"):
        draft(Handed(), "residual", block="Prat", example_inputs=toy.image())
