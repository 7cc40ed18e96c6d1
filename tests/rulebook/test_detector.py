"""A network that no library knows, with rules of its own where structure alone misleads."""

from pathlib import Path

import pytest
import torch

import surgeon
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import verdict
from tests.shared.detector import Detector

RULES = Path(__file__).parent / "detector_rules"
IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_structure_alone_ends_the_backbone_where_maps_grow_and_takes_the_head_for_blocks():
    model = Detector()
    paths = lambda where, rules=None: [site.module for site in surgeon.plan(model, "se", where=where, rules=rules)]
    assert paths("bottleneck") == ["model.2", "model.4", "model.6"] == paths("bottleneck", RULES)
    assert paths("final") == ["model.9"] == paths("final", RULES)
    assert paths("residual") == [*paths("residual", RULES), *["model.22"] * 3]


def test_its_rules_say_what_is_meant():
    book = rulebook.load([RULES])
    own = [rule for rule in book if Path(rule.file).parent == RULES]
    verdicts = list(verdict.check(own, book, allow_imports=True))
    assert len(verdicts) == 3 and not [str(told) for told in verdicts if told.kind != "found"]


@pytest.mark.parametrize("attention", ["cbam", "bam"])
@pytest.mark.parametrize("where, count", [("residual", 6), ("bottleneck", 3), ("final", 1), ("input", 1)])
def test_identity_is_bit_equal_in_both_modes_and_every_gate_learns(where, count, attention):
    torch.manual_seed(0)
    model = Detector()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    old = {mode: model.train(mode)(IMAGE) for mode in (False, True)}
    model.load_state_dict(state)
    assert surgeon.inject(model, attention, where=where, rules=RULES) is model
    assert len(surgeon.attention_modules(model)) == count
    assert list(state) == [key for key in model.state_dict() if key in state]
    for mode in (False, True):
        assert torch.equal(model.train(mode)(IMAGE), old[mode])
    model(IMAGE).square().sum().backward()
    last = {
        path: weight.grad
        for path, weight in surgeon.attention_parameters(model).items()
        if path.endswith("channel.fc2.bias")
    }
    assert last and all(grad is not None and grad.abs().max() > 0 for grad in last.values())
    surgeon.remove(model)
    assert list(model.state_dict()) == list(state) and not surgeon.attention_modules(model)
