"""`surgeon.compare` and `surgeon.rank` on toys whose answers are known."""

import copy
import json

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadInput, BadModel, BadOption, BadPlan
from surgeon.pages.evidence.costs import peak
from surgeon.pages.evidence.scoring import Variant
from tests.shared import toy
from tests.shared.bits import assert_same_bits

IMAGES, LABELS = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4


def plain():
    torch.manual_seed(0)
    model = toy.Net().eval()
    # So that images are told apart.
    nn.init.normal_(model.fc.weight, std=30)
    return model


def operated(where=("block", "down"), **options):
    """A network with a gate at each place, that act."""
    model = surgeon.inject(plain(), "se", where=[*where], reduction=2, **options)
    for weight in surgeon.attention_parameters(model).values():
        nn.init.normal_(weight, std=2)
    return model


@torch.no_grad()
def right(model):
    return (model(IMAGES).argmax(1) == LABELS).tolist()


def test_what_is_compared():
    base, model = plain(), operated()
    state = copy.deepcopy(model.state_dict())
    found = surgeon.compare(base, model.train(), (IMAGES, LABELS), batch=16, rounds=1)
    assert model.training and all(gate.enabled for gate in surgeon.attention_modules(model).values())
    assert_same_bits(model.state_dict(), state)
    model.eval()
    here, there = right(model), right(base)
    assert [side.right for side in found.sides] == [sum(there), sum(here), sum(there)]
    assert found.paired[0].gained == sum(one and not other for one, other in zip(here, there))
    assert found.paired[0].lost == sum(other and not one for one, other in zip(here, there))
    assert found.paired[0].gained + found.paired[0].lost > 0
    expected = nn.functional.cross_entropy(model(IMAGES), LABELS).item()
    assert found.sides[1].loss == pytest.approx(expected, rel=1e-5)
    assert found.sides[1].parameters - found.sides[0].parameters == sum(
        weight.numel() for weight in surgeon.attention_parameters(model).values()
    )
    assert found.images == 40 and found.batch == 16 and all(side.milliseconds > 0 for side in found.sides)
    assert "with attention" in str(found) and json.loads(json.dumps(found.to_dict()))["images"] == 40
    page = found.html()
    assert all(f"{side.accuracy:.4f}" in page for side in found.sides) and "http" not in page.replace("http-equiv", "")


def test_a_base_that_was_trained_differently():
    base, model = plain(), operated()
    nn.init.normal_(base.fc.weight)
    found = surgeon.compare(base, model, (IMAGES, LABELS), rounds=1)
    assert found.sides[0].loss != found.sides[2].loss


def test_what_is_ranked():
    model = operated()
    found = surgeon.rank(model, (IMAGES, LABELS), batch=16)
    assert {worth.path for worth in found.sites} == {*surgeon.attention_modules(model)}
    assert found.sites[0].loss >= found.sites[1].loss
    whole = nn.functional.cross_entropy(model(IMAGES), LABELS, reduction="none")
    for worth in found.sites:
        with surgeon.disabled(model, worth.path):
            rises = nn.functional.cross_entropy(model(IMAGES), LABELS, reduction="none") - whole
        assert worth.loss == pytest.approx(rises.mean().item(), abs=1e-5)
        assert worth.spread == pytest.approx(1.96 * rises.std().item() / 40**0.5, rel=1e-3)
        assert worth.gamma is None and worth.opened > 0 and worth.parameters > 0 and worth.macs > 0
    assert found.best(1) == (found.sites[0].path,)
    with pytest.raises(BadOption, match="there are 2 attention modules"):
        found.best(3)
    assert found.sites[0].path in str(found) and found.sites[0].path in found.html().replace("<wbr>", "")
    assert json.loads(json.dumps(found.to_dict()))["sites"][0]["path"] == found.sites[0].path


def test_gammas_are_told():
    model = operated(init="identity")
    for gate in surgeon.attention_modules(model).values():
        nn.init.constant_(gate.gamma, 0.25)
    assert [worth.gamma for worth in surgeon.rank(model, (IMAGES, LABELS)).sites] == [0.25, 0.25]


def test_the_best_site_alone():
    model = operated()
    best, worst = surgeon.rank(model, (IMAGES, LABELS)).best(2)
    with surgeon.disabled(model, worst):
        expected = model(IMAGES)
    assert surgeon.remove(model, worst) is model
    assert [*surgeon.attention_modules(model)] == [best] and torch.equal(model(IMAGES), expected)
    assert surgeon.check(model).is_whole


def wide(model):
    model.fc = nn.Linear(8, 7)
    return model


REFUSED = {
    "no attention": (BadModel, lambda: (plain(), plain()), (IMAGES, LABELS), "has no attention"),
    "attention in the base": (BadModel, lambda: (operated(), operated()), (IMAGES, LABELS), "has attention"),
    "another network": (
        BadPlan,
        lambda: (toy.Net(nn.Sequential(toy.conv(8, 8), nn.ReLU())), operated()),
        (IMAGES, LABELS),
        "another network",
    ),
    "another head": (BadInput, lambda: (plain(), operated()), "sample:digits", "does not run on images"),
    "too many labels": (BadInput, lambda: (plain(), operated()), (IMAGES, LABELS + 4), "a label of 7"),
    "no images": (BadInput, lambda: (plain(), operated()), (IMAGES[:0], LABELS[:0]), "no image|does not run|label"),
    "an iterator at its end": (BadInput, lambda: (plain(), operated()), [], "no image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_for_what_can_not_be_compared(case):
    kind, make, data, told = REFUSED[case]
    base, model = make()
    with pytest.raises(kind, match=told):
        surgeon.compare(base, model, data, rounds=1)
    if case not in ("attention in the base", "another network"):
        with pytest.raises(kind, match=told):
            surgeon.rank(model, data)


def test_the_memory_of_maps():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            y = x * self.scale
            z = y.view(-1) + 1
            return z.sum() + y.sum()

    x = torch.zeros(1000)
    # Two maps of 1,000 numbers live at once, and a sum of each.
    assert 8000 <= peak(Variant(Three()), x) <= 8100
