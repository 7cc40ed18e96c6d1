"""Optimizers and reducers that were made before the attention: nothing stays untrained, or unreduced, in silence."""

import copy
import gc
import sys
import threading
import warnings

import pytest
import timm.scheduler
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import surgeon
from surgeon.errors import BadModel, BadOption, Unscheduled, UntrainedAttention
from surgeon.surgery import holders

# Each search for an optimizer goes through all that the garbage collector knows.
pytestmark = pytest.mark.network


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Linear(16, 2)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))


def operated(model=None, **options):
    return surgeon.inject(model or Net(), "cbam", where="*conv", example_inputs=torch.zeros(2, 3, 8, 8), **options)


def step(model, *optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()

    def loss():
        loss = model(torch.randn(4, 3, 8, 8)).square().mean()
        loss.backward()
        return loss

    loss()
    for optimizer in optimizers:
        optimizer.step(*([loss] if isinstance(optimizer, torch.optim.LBFGS) else []))


def moved(model, *optimizers):
    before = {name: weight.detach().clone() for name, weight in surgeon.attention_parameters(model).items()}
    for _ in range(2):
        step(model, *optimizers)
    return [
        name for name, weight in surgeon.attention_parameters(model).items() if not torch.equal(weight, before[name])
    ]


def test_an_optimizer_from_before_says_once_that_the_attention_is_not_its():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    operated(model)
    with pytest.warns(UntrainedAttention, match=r"^this SGD was made before the attention .* surgeon\.add_to\("):
        step(model, optimizer)
    step(model, optimizer)


def test_who_holds_the_head_alone_is_found_as_well():
    model = Net()
    optimizer = torch.optim.AdamW(model.fc.parameters())
    operated(model)
    with pytest.warns(UntrainedAttention, match="^this AdamW"):
        step(model, optimizer)


def added(model, old):
    return [surgeon.add_to(old, model)]


def made_again(model, old):
    return [torch.optim.SGD(model.parameters(), lr=0.1)]


def one_more(model, old):
    return [old, torch.optim.SGD(surgeon.attention_parameters(model).values(), lr=0.1)]


def by_groups(model, old):
    for group in surgeon.param_groups(model, lr=0.1, optimizer=old):
        old.add_param_group(group)
    return [old]


@pytest.mark.parametrize("mend", [added, made_again, one_more, by_groups])
def test_whoever_sees_to_it_hears_nothing(mend):
    model = Net()
    old = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizers = mend(operated(model), old)
    assert moved(model, *optimizers)


def test_frozen_and_removed_attention_needs_no_optimizer():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    operated(model, init="identity")
    for weight in surgeon.attention_parameters(model).values():
        weight.requires_grad_(False)
    step(model, optimizer)
    surgeon.remove(model)
    gc.collect()
    step(model, optimizer)


def test_an_optimizer_with_a_reminder_is_copied_and_saved():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    operated(model)
    copy.deepcopy(optimizer).load_state_dict(optimizer.state_dict())


def test_networks_that_nobody_else_holds_are_not_looked_for(monkeypatch):
    """The look goes through all objects of the process; a count of references comes first."""
    monkeypatch.setattr(holders, "_holders", lambda held, *kinds: pytest.fail(f"looked for {kinds}"))
    tied = Net()
    tied.again = nn.Linear(16, 2)
    tied.again.weight = tied.fc.weight
    for model in (Net(), tied, copy.deepcopy(tied)):
        surgeon.remove(operated(model))
        operated(model)
        step(model)
        assert not holders.optimizers_of(model)


def test_a_look_at_a_network_leaves_no_reference_to_its_weights():
    """What a look leaves behind waits for the garbage collector, which may be long in coming."""
    gc.disable()
    try:
        model = Net()
        surgeon.plan(model, "cbam", where="*conv", example_inputs=torch.zeros(2, 3, 8, 8))
        assert not holders._held_elsewhere(model)
    finally:
        gc.enable()


class Wrapper(torch.optim.Optimizer):
    """As accelerate wraps one: an Optimizer by its class alone, which hands everything on."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)
    state = property(lambda self: self.optimizer.state)
    defaults = property(lambda self: self.optimizer.defaults)

    def add_param_group(self, group):
        self.optimizer.add_param_group(group)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        self.optimizer.step(closure)


def test_a_wrapped_optimizer_is_reminded_and_extended():
    model = Net()
    wrapper = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    operated(model)
    with pytest.warns(UntrainedAttention, match="^this SGD was made before"):
        step(model, wrapper)
    surgeon.add_to(wrapper, model)
    assert moved(model, wrapper)


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_network_that_a_reducer_holds_is_refused(group):
    model = Net()
    ddp = DistributedDataParallel(model)
    with pytest.raises(BadModel, match=r"^a DistributedDataParallel holds this network, .*: operate first, and wrap"):
        operated(model)
    assert not surgeon.attention_modules(model)
    del ddp
    operated(model)
    assert surgeon.attention_modules(DistributedDataParallel(model))


def test_a_part_of_what_a_reducer_holds_is_refused(group):
    whole = nn.Sequential(Net(), nn.Linear(2, 2))
    ddp = DistributedDataParallel(whole)
    with pytest.raises(BadModel, match="holds this network"):
        operated(whole[0])
    assert ddp.module is whole


def test_a_sharded_network_is_refused(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(Net(), mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(BadModel, match=r"^this network is sharded already: operate on it first"):
        operated(model)


OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.1, betas=(0.5, 0.9), weight_decay=0.5),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.1),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.1, centered=True),
    "tensor": lambda weights: torch.optim.Adam(weights, lr=torch.tensor(0.1)),
    "nadam": lambda weights: torch.optim.NAdam(weights, lr=0.1),
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_attention_is_added_once_with_the_first_groups_settings(kind, named):
    model = Net()
    optimizer = OPTIMIZERS[kind]([*(model.named_parameters() if named else model.parameters())])
    step(model, optimizer)
    operated(model)
    first = dict(optimizer.param_groups[0])
    for _ in range(2):
        assert surgeon.add_to(optimizer, model, lr=0.25) is optimizer
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len(held) == len(set(held)) and set(held) == set(model.parameters())
    for group in optimizer.param_groups[1:]:
        assert group["lr"] == 0.25 and group.keys() == first.keys()
        other = {"lr", "params", "param_names", "weight_decay"}
        assert all(group[name] == first[name] for name in first.keys() - other)
    if named:
        names = [name for group in optimizer.param_groups for name in group["param_names"]]
        assert set(names) == {name for name, _ in model.named_parameters()}
    assert {name.split(".")[2] for name in moved(model, optimizer)} == {"channel", "spatial"}


def test_gammas_norms_and_biases_do_not_decay():
    model = Net()
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    surgeon.add_to(optimizer, operated(model, init="identity"))
    names = {weight: name for name, weight in model.named_parameters()}
    _, decaying, spared = ([names[weight].split(".", 3)[-1] for weight in g["params"]] for g in optimizer.param_groups)
    assert decaying == ["fc1.weight", "fc2.weight", "conv.weight"]
    assert spared == ["gamma", "fc1.bias", "fc2.bias", "gamma", "bn.weight", "bn.bias"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.5, 0.0]
    other = torch.optim.SGD(model.fc.parameters(), lr=1.0)
    surgeon.add_to(other, model, weight_decay=0.25)
    assert [(group["lr"], group["weight_decay"]) for group in other.param_groups] == [(1, 0), (1, 0.25), (1, 0)]


def test_a_learning_rate_that_is_a_tensor_is_not_shared():
    model = Net()
    optimizer = OPTIMIZERS["tensor"](model.parameters())
    surgeon.add_to(optimizer, operated(model))
    rates = [group["lr"] for group in optimizer.param_groups]
    assert len(rates) == len(set(map(id, rates))) == 2


def test_frozen_attention_is_left_out():
    model = operated()
    model.conv.cbam.spatial.requires_grad_(False)
    optimizer = surgeon.add_to(torch.optim.SGD(model.fc.parameters(), lr=1.0), model)
    # Two layers with their biases.
    assert len([weight for group in optimizer.param_groups[1:] for weight in group["params"]]) == 4


SCHEDULERS = {
    "CosineAnnealingLR": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
    "OneCycleLR": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, 10),
    "StepLR": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
    "CosineLRScheduler": lambda optimizer: timm.scheduler.CosineLRScheduler(optimizer, 10),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_from_before_has_to_be_made_again(kind):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = SCHEDULERS[kind](optimizer)
    operated(model)
    with pytest.warns(Unscheduled, match=rf"^a {kind} was made for this optimizer before, .*: make the {kind} again"):
        surgeon.add_to(optimizer, model, lr=0.5)
    del scheduler
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Unscheduled)
        surgeon.add_to(optimizer, model)
    # One that is made now sets the attention's rate, from its own start.
    again = SCHEDULERS[kind](optimizer)
    step(model, optimizer)
    started = [group["lr"] for group in optimizer.param_groups]
    again.step(*([1] if kind == "CosineLRScheduler" else []))
    assert all(group["lr"] != rate for group, rate in zip(optimizer.param_groups, started, strict=True))


def test_what_can_not_be_added():
    with pytest.raises(BadModel, match=r"^this model has no attention to train"):
        surgeon.add_to(torch.optim.SGD(Net().parameters(), lr=1.0), Net())
    model = operated()
    with pytest.raises(BadOption, match=r"^LBFGS steps one group of weights only: make it again, LBFGS\(model\."):
        surgeon.add_to(torch.optim.LBFGS(model.fc.parameters()), model)


def test_other_threads_may_make_tuples_meanwhile():
    """Whoever lists all objects of the process holds those too that another thread is just making, and breaks them."""
    stopped, wrong = threading.Event(), []

    def make():
        while not stopped.is_set():
            try:
                tuple(number for number in range(300))
            except SystemError as error:
                wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    other = threading.Thread(target=make)
    other.start()
    try:
        for _ in range(4):
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            surgeon.add_to(optimizer, surgeon.inject(model, "se", where="final"))
    finally:
        stopped.set()
        other.join()
        sys.setswitchinterval(interval)
    assert wrong == []
