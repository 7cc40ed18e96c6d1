"""Images that come as people pass them: as an example of the user's own, by name, in a list, in a dict."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import surgeon
from surgeon.errors import BadInput, CheckFailed
from surgeon.surgery import trial
from tests.shared import toy

IMAGE = toy.image(32)
FORMS = {"tensor": IMAGE, "tuple": (IMAGE,), "list": [IMAGE], "dict": {"x": IMAGE}, "on meta": IMAGE.to("meta")}
CHECKS = ("stitches", "output")


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("init", ["identity", "paper"])
def test_every_call_with_an_example(form, check, init):
    model, example = toy.Net().eval(), FORMS[form]
    before, kept = model(IMAGE), IMAGE.clone()
    assert surgeon.places(model, example_inputs=example) == {
        "residual": 1,
        "bottleneck": 0,
        "final": 1,
        "input": 1,
        "gate": 0,
    }
    plan = surgeon.plan(model, "cbam", init=init, example_inputs=example)
    surgeon.apply(model, plan, example_inputs=example, check=check)
    assert torch.equal(model(IMAGE), before) == (init == "identity")
    surgeon.remove(model)
    surgeon.inject(model, "cbam", init=init, example_inputs=example, check=check)
    assert torch.equal(model(IMAGE), before) == (init == "identity") and torch.equal(IMAGE, kept)


class Overwrites(toy.Net):
    def forward(self, x):
        return super().forward(x.sub_(1))


@pytest.mark.parametrize("check", CHECKS)
def test_an_example_that_the_network_writes_to(check):
    image = IMAGE.clone()
    surgeon.inject(Overwrites(), "cbam", example_inputs=image, check=check)
    assert torch.equal(image, IMAGE)


class Numbers(toy.Net):
    def forward(self, x):
        return super().forward(x * float(x.max() > -1e9))


def test_an_example_on_meta_for_a_network_that_needs_numbers():
    with pytest.raises(BadInput, match="^Numbers does not run on an example input"):
        surgeon.plan(Numbers(), "cbam", example_inputs=IMAGE.to("meta"))
    assert len(surgeon.plan(Numbers(), "cbam", example_inputs=IMAGE)) == 1


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = toy.conv(3, 8)

    def forward(self, x=None, /, *more, image=None, images=(), **others):
        given = tree_leaves((x, more, image, images, others))
        return self.conv(next(leaf for leaf in given if isinstance(leaf, torch.Tensor)) * 1)


WAYS = {
    "first": (lambda stem, x: stem(x), "input"),
    "by name": (lambda stem, x: stem(image=x), "input.image"),
    "a free argument": (lambda stem, x: stem(None, 1, x), "input.2"),
    "a free keyword": (lambda stem, x: stem(pixels=x), "input.pixels"),
    "in a list": (lambda stem, x: stem(images=[None, x]), "input.images.1"),
    "in a tuple": (lambda stem, x: stem((x, 2)), "input.x.0"),
    "in a dict": (lambda stem, x: stem(images={"depth": 1, "left": x}), "input.images.1"),
}


class Passes(toy.Net):
    def __init__(self, way):
        super().__init__()
        self.stem, self.way = Stem(), way

    def forward(self, x):
        return self.fc(self.down(self.block(self.way(self.stem, x))).mean((2, 3)))


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_an_image_is_found_wherever_it_is_among_the_arguments(way):
    call, after = WAYS[way]
    model = Passes(call).eval()
    before = model(IMAGE)
    plan = surgeon.plan(model, toy.Mark, where="input", example_inputs=IMAGE)
    assert [(site.module, site.after) for site in plan] == [("stem", after)]
    surgeon.apply(model, plan, example_inputs=IMAGE, check="output")
    gate = model.stem.mark
    gate.calls = 0
    assert torch.equal(model(IMAGE), before) and gate.calls == 1
    gate.weight.data.fill_(2)
    assert not torch.equal(model(IMAGE), before)


@torch.no_grad()
@pytest.mark.parametrize("key", ["pixel_values", "x"])
def test_a_model_that_is_called_by_name(key):
    class ByName(toy.Net):
        def forward(self, ids=None, pixel_values=None, x=None):
            return super().forward(x if pixel_values is None else pixel_values.mul(1))

    model = ByName().eval()
    before = model(**{key: IMAGE})
    surgeon.inject(model, toy.Mark, where="input", example_inputs={key: IMAGE})
    assert torch.equal(model(**{key: IMAGE}), before)


class Strict(toy.Residual):
    """A forward whose children are told by their number."""

    def forward(self, x):
        assert len(vars(self)["_modules"]) == 2, "two children only"
        return super().forward(x)


def test_what_would_not_run_is_not_changed():
    model = toy.Net(Strict()).eval()
    modules, before = dict(model.named_modules()), model(IMAGE)
    plan = surgeon.plan(model, toy.Mark, where="*block")
    with pytest.raises(CheckFailed) as caught:
        surgeon.apply(model, plan)
    assert (
        str(caught.value) == "the network would not run with attention in it: two children only; nothing was changed."
    )
    assert dict(model.named_modules()) == modules and type(model.block) is Strict and torch.equal(model(IMAGE), before)


def test_an_answer_in_other_shapes(monkeypatch):
    model = toy.Net()
    monkeypatch.setattr(trial, "kind", lambda result, seen=[]: seen.append(1) or len(seen))
    with pytest.raises(
        CheckFailed, match="^the network would answer in other shapes with attention in it; nothing was changed.$"
    ):
        surgeon.inject(model, "cbam")
    assert not surgeon.attention_modules(model)


class Leaves(toy.Residual):
    """A child that leaves for another what it has seen."""

    def forward(self, x):
        self.seen = x
        return super().forward(x)


class Reads(toy.Net):
    def __init__(self):
        super().__init__()
        self.first, self.second = Leaves(), toy.Residual()

    def forward(self, x):
        x = self.first(self.stem(x))
        return self.fc(self.down(self.block(self.second(x)) + self.first.seen).mean((2, 3)))


def test_what_a_module_leaves_for_another_is_there_when_it_is_tried_out():
    model = Reads().eval()
    before = model(IMAGE)
    surgeon.inject(model, "cbam", where="second.bn")
    assert torch.equal(model(IMAGE), before)


class Collects(toy.Net):
    """Features are collected by hooks, as decoders of segmentation networks do it."""

    def __init__(self):
        super().__init__()
        self.features = []
        self.block.register_forward_hook(lambda module, args, output: self.features.append(output))
        self.stem.register_forward_hook(self._collect)

    def _collect(self, module, args, output):
        self.features.append(output)

    def forward(self, x):
        self.features.clear()
        self.block(self.stem(x))
        stem, block = self.features
        return self.fc(self.down(stem + block).mean((2, 3)))


@torch.no_grad()
def test_features_that_are_collected_by_hooks():
    model = Collects().eval()
    before, features = model(IMAGE), list(model.features)
    assert surgeon.places(model, example_inputs=IMAGE)["residual"] >= 1
    surgeon.inject(model, "cbam", example_inputs=IMAGE)
    assert all(now is then for now, then in zip(model.features, features, strict=True))
    assert torch.equal(model(IMAGE), before)
    assert torch.equal(surgeon.remove(model)(IMAGE), before)


def test_a_hook_that_counts_is_not_counted():
    model, count = Collects(), []
    model.fc.register_forward_hook(lambda *args: count.append(args))
    surgeon.inject(model, "cbam", example_inputs=IMAGE)
    assert count == [] and model.features == []
