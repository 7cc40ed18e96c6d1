"""What holds for every network and every input, tried on random ones."""

import copy
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import surgeon
from surgeon.errors import NoSite
from tests.shared import toy

pytestmark = pytest.mark.many

fifteen = settings(max_examples=15, suppress_health_check=list(HealthCheck))

BLOCKS = [toy.Residual, toy.InPlace, toy.TwoAdds, toy.Mode, toy.ChannelsLast, toy.Optional, toy.Shared, toy.Projected]
blocks = st.sampled_from(BLOCKS)
attention = st.sampled_from(["cbam", "bam", "se", "eca"])
wheres = st.lists(st.sampled_from(["residual", "bottleneck", "final", "input"]), min_size=1, max_size=3, unique=True)


@st.composite
def networks(draw):
    """A few random blocks, some of them strided, some of them twice, in a network with a stem and a head."""
    made = [draw(blocks)() for _ in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        made.append(nn.Sequential(toy.conv(8, 8, 2), nn.BatchNorm2d(8), nn.ReLU()))
    if draw(st.booleans()):
        made.append(made[0])
    model = toy.Net(nn.Sequential(*made))
    for module in model.modules():
        module.training = draw(st.booleans())
    for weight in model.parameters():
        weight.requires_grad_(draw(st.booleans()))
    model.block.register_forward_hook(lambda module, args, y: y * 2)
    return model


def skeleton(model):
    """Objects, classes, attributes, flags and numbers; everything about a model that can be told."""
    # The table of children is replaced as a whole, for the sake of other threads: its entries are what has to stay.
    attributes = lambda module: {key: id(value) for key, value in vars(module).items() if key != "_modules"}
    children = lambda module: [(name, id(child)) for name, child in module._modules.items()]
    modules = [
        (path, id(module), type(module), attributes(module), children(module))
        for path, module in model.named_modules(remove_duplicate=False)
    ]
    tensors = [
        (key, id(t), t._version, t.requires_grad, t.detach().numpy().tobytes())
        for key, t in model.state_dict(keep_vars=True).items()
    ]
    return modules, tensors


def decided(model, name, where, **options):
    """The plan, or None where none of the places exists."""
    try:
        return surgeon.plan(model, name, where=where, **options)
    except NoSite:
        return None


def bits(model, x):
    torch.manual_seed(0)
    return model(x)


@fifteen
@given(networks(), attention, wheres)
def test_looking_changes_nothing(model, name, where):
    before, numbers = skeleton(model), torch.get_rng_state()
    plan = decided(model, name, where)
    surgeon.places(model)
    assert skeleton(model) == before and torch.equal(torch.get_rng_state(), numbers)
    assert decided(model, name, where) == plan


@fifteen
@given(networks(), attention, wheres)
def test_operating_keeps_the_bits_and_removing_keeps_everything(model, name, where):
    x = toy.image()
    plan = decided(model, name, where)
    if plan is None:
        return
    before, expected = skeleton(model), bits(copy.deepcopy(model), x)
    surgeon.apply(model, plan)
    assert torch.equal(bits(copy.deepcopy(model), x), expected)
    assert len({id(gate) for gate in surgeon.attention_modules(model).values()}) == len(plan)
    assert skeleton(surgeon.remove(model)) == before


@fifteen
@given(networks(), attention, wheres)
def test_a_plan_is_json(model, name, where):
    plan = decided(model, name, where)
    if plan is not None:
        assert surgeon.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@fifteen
@given(networks(), attention, wheres, st.integers(1, 5), st.integers(2, 5))
def test_sites_do_not_depend_on_the_batch(model, name, where, one, other):
    plans = [decided(model, name, where, example_inputs=toy.image(32, batch)) for batch in (one, other)]
    assert plans[0] == plans[1]


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@fifteen
@given(networks(), st.permutations(["residual", "final", "input"]))
def test_in_whatever_order_it_went_in_it_comes_out(model, order):
    before, x = skeleton(model), toy.image()
    expected = bits(copy.deepcopy(model), x)
    for place, name in zip(order, ("cbam", "bam", "se")):
        surgeon.inject(model, name, where=place)
    assert torch.equal(bits(copy.deepcopy(model), x), expected)
    assert skeleton(surgeon.remove(model)) == before


@fifteen
@given(networks())
def test_every_gate_is_asked_as_often_as_its_owner_runs(model):
    owners = {}
    plan = surgeon.plan(model, toy.Mark, where=["residual", "final"])
    surgeon.apply(model, plan)
    for site in plan:
        model.get_submodule(site.module).register_forward_pre_hook(
            lambda module, args: owners.__setitem__(id(module), owners.get(id(module), 0) + 1)
        )
    model(toy.image())
    sites_of = {site.module: sum(other.module == site.module for other in plan) for site in plan}
    for path, gate in surgeon.attention_modules(model).items():
        owner = path.rpartition(".")[0]
        assert gate.calls * sites_of[owner] == owners[id(model.get_submodule(owner))]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_small_batches_in_train_mode(batch):
    model = surgeon.inject(toy.Net(), "bam").train()
    assert model(toy.image(batch=batch)).isfinite().all()
