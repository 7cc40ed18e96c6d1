"""While one thread operates, all others go on: on other networks, on the same one, with operations of their own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import timm
import torch
import torchvision
from torch import nn

import surgeon
from surgeon.anatomy.watch import observed
from surgeon.errors import BadModel
from surgeon.surgery.alone import alone
from tests.shared import toy

pytestmark = pytest.mark.network

STOCK = {"torchvision": torchvision.models.resnet18, "timm": lambda: timm.create_model("test_vit")}
SIZES = {"torchvision": 64, "timm": 160}


def answers(model, image, stop):
    """How many times `model` gave the answer that it gives first, until `stop`; all must be equal to the bit."""
    with torch.no_grad():
        first, count = model(image), 0
        while not stop.is_set() or not count:
            assert torch.equal(model(image), first)
            count += 1
    return count


@contextmanager
def answering(*questions):
    """Inside, each (model, image) is asked again and again by a thread of its own; all answers must be the same."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(questions)) as pool:
        jobs = [pool.submit(answers, model, image, stop) for model, image in questions]
        try:
            yield
        finally:
            stop.set()
        assert all(job.result() > 0 for job in jobs)


def operated(make, times):
    """Networks operated on and back again, each right; the number of operations."""
    for number in range(times):
        model = make().eval()
        image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(number))
        before = model(image)
        surgeon.inject(model, "cbam", init="identity" if number % 2 else "paper")
        assert len(surgeon.attention_modules(model)) == surgeon.places(model)["residual"]
        assert not number % 2 or torch.equal(model(image), before)
        assert torch.equal(surgeon.remove(model)(image), before)
    return times


@torch.no_grad()
def test_stock_networks_answer_while_others_are_operated_on():
    with answering(*((STOCK[name]().eval(), torch.randn(1, 3, SIZES[name], SIZES[name])) for name in (*STOCK, *STOCK))):
        assert operated(toy.Net, 10) + operated(lambda: torchvision.models.resnet18(num_classes=4), 4) == 14


@torch.no_grad()
def test_two_threads_operate():
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(operated, make, 4) for make in (toy.Net, lambda: torchvision.models.resnet18(num_classes=4))
        ]
        assert [job.result() for job in jobs] == [4, 4]


@torch.no_grad()
@pytest.mark.parametrize("where", ["residual", "final", "input"])
@pytest.mark.parametrize("block", [toy.Residual, toy.Projected, toy.InPlace])
def test_a_network_answers_while_it_is_operated_on(block, where):
    model = nn.Sequential(toy.Net(block())).eval()
    with answering((model, toy.image())):
        surgeon.inject(model, "cbam", where=where)


class Pauses(nn.Module):
    """A network that stops in the middle of its forward, once, until it is told to go on."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(toy.Net().stem, toy.Residual(), nn.Conv2d(8, 8, 3, stride=2))
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            if number == 1 and not x.is_meta:
                self.reached.set()
                assert self.goes_on.wait(60)
            x = layer(x)
        return x.mean((2, 3))


@torch.no_grad()
@pytest.mark.parametrize("where", ["residual", "layers.1", "final"])
def test_an_answer_under_way_is_the_old_one_or_the_new_one(where):
    model, image = Pauses().eval(), toy.image()
    model.goes_on.set()
    before = model(image)
    model.reached.clear(), model.goes_on.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(model, image)
        assert model.reached.wait(60)
        try:
            surgeon.inject(model, "cbam", where=where, init="paper")
        finally:
            model.goes_on.set()
        after = model(image)
        assert any(torch.equal(answer.result(), known) for known in (before, after))
    assert not torch.equal(before, after)


@torch.no_grad()
@pytest.mark.parametrize("where", ["residual", "block", "final", "input"])
@pytest.mark.parametrize("block", [toy.Residual, toy.Projected, toy.InPlace])
def test_an_answer_under_way_is_given_when_attention_is_taken_out(block, where):
    model, image = toy.Net(block()).eval(), toy.image()
    before = model(image)
    for path, module in model.named_modules():
        surgeon.inject(model, "cbam", where=where)
        # What ends in the middle of the forward, as another thread would see it.
        hook = module.register_forward_hook(
            lambda *_: surgeon.attention_modules(model) and surgeon.remove(model) and None
        )
        answer = model(image)
        hook.remove()
        assert torch.equal(answer, before) and not surgeon.attention_modules(model), path


def test_two_operations_on_one_model_are_refused():
    model = toy.Net()
    refusal = "another operation on this {} is under way in another thread: wait until it has ended."
    with alone(model):
        for act in (lambda m: surgeon.inject(m, "cbam"), surgeon.remove):
            for part in (model, nn.Sequential(model), model.block):
                with pytest.raises(BadModel) as caught:
                    act(part)
                assert str(caught.value) == refusal.format(type(part).__name__)
        surgeon.inject(toy.Net(), "cbam")
    assert not surgeon.attention_modules(model)
    surgeon.inject(model, "cbam")


def test_the_model_is_not_touched_while_it_is_looked_at():
    model = toy.FrozenBN().train()
    before = {
        path: {name: id(value) for name, value in vars(module).items()} | {"training": module.training}
        for path, module in model.named_modules()
    }
    tensors = {key: id(tensor) for key, tensor in model.state_dict(keep_vars=True).items()}
    with observed(model) as observation:
        assert {key: id(tensor) for key, tensor in model.state_dict(keep_vars=True).items()} == tensors
        now = {
            path: {name: id(value) for name, value in vars(module).items()} | {"training": module.training}
            for path, module in model.named_modules()
        }
        assert now == before
        assert set(observation.model.modules()).isdisjoint(model.modules())
