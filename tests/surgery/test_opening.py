"""Attention on a schedule."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadModel, BadOption
from tests.shared.bits import same_bits

pytestmark = pytest.mark.fast


def operated(init="identity", attention="cbam"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    return surgeon.inject(model, attention, where="1", init=init, example_inputs=torch.zeros(2, 3, 8, 8))


def gammas(model):
    return [float(weight) for name, weight in surgeon.attention_parameters(model).items() if name.endswith("gamma")]


def test_from_the_network_as_it_was_to_the_published_module():
    model, images = operated(), torch.randn(2, 3, 8, 8)
    opening = surgeon.Opening(model, steps=4)
    found = [gammas(model)]
    for _ in range(6):
        opening.step()
        found.append(gammas(model))
    assert found == [[share, share] for share in (0, 0.25, 0.5, 0.75, 1, 1, 1)]
    published = operated("paper")
    weights = {name: value for name, value in model.state_dict().items() if not name.endswith("gamma")}
    # The published start has zeros of its own in its last norm.
    published.load_state_dict(weights)
    assert torch.allclose(model.eval()(images), published.eval()(images))


def test_an_optimizer_moves_all_but_the_gammas():
    model = operated()
    opening = surgeon.Opening(model, steps=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        opening.step()
    assert gammas(model) == [1, 1]
    assert not torch.equal(model[0].weight, operated()[0].weight)


def test_somebody_elses_loop_steps_it():
    model = operated()
    optimizer = torch.optim.AdamW(model.parameters())
    opening = surgeon.Opening(model, steps=2, optimizer=optimizer)
    # As Lightning and AMP's scaler call it: with a closure, or through a scheduler's wrapper.
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    for _ in range(2):
        optimizer.step(lambda: model(torch.randn(2, 3, 8, 8)).mean())
        scheduler.step()
    assert opening.share == 1 and gammas(model) == [1, 1]


def test_it_goes_on_where_it_stopped():
    model = operated()
    opening = surgeon.Opening(model, steps=4)
    opening.step()
    state, weights = opening.state_dict(), model.state_dict()
    resumed = operated()
    resumed.load_state_dict(weights)
    again = surgeon.Opening(resumed, steps=9)
    again.load_state_dict(state)
    opening.step(), again.step()
    assert gammas(resumed) == gammas(model) == [0.5, 0.5]
    with pytest.raises(BadOption, match="this state is of 2 gammas, and the model has 1"):
        surgeon.Opening(operated(attention="se"), steps=4).load_state_dict(state)


def test_what_takes_a_modules_place_opens_as_well():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    images = torch.randn(2, 3, 8, 8)
    before = model(images)
    surgeon.inject(model, "se", where="1", replace=True, example_inputs=images)
    assert same_bits(model(images), before)
    opening = surgeon.Opening(model, steps=1)
    opening.step()
    (gate,) = surgeon.attention_modules(model).values()
    assert float(gate.share) == 1 and not torch.equal(model(images), before)


@pytest.mark.parametrize("init", ["neutral", "paper"])
def test_what_has_no_gamma(init):
    with pytest.raises(BadModel, match="no attention here has a gamma that could be raised"):
        surgeon.Opening(operated(init), steps=4)
