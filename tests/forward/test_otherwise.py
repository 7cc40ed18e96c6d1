"""Rewritten forwards take what the originals take, and go the original's way where a call is of another kind."""

import copy
import inspect
import math
import pickle

import pytest
import timm
import timm.models
import torch
from torch import fx, nn

import surgeon
from surgeon.errors import BadInput
from surgeon.forward.arguments import argument, header
from surgeon.forward.guards import Guard, as_many, none, same
from tests.shared import toy

pytestmark = pytest.mark.network

X = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))


class Flexible(toy.Residual):
    """A forward with parameters of every kind, and ways that the example does not take."""

    def forward(
        self,
        x: torch.Tensor,
        mask: "torch.Tensor | None" = None,
        /,
        scale=1.0,
        *more,
        maps=None,
        how: str = "add",
        **others: int,
    ) -> torch.Tensor:
        if mask is not None:
            x = x * mask
        y = self.bn(self.conv(x))
        if maps:
            maps.append(y)
        if how == "mul":
            return y * x * scale
        return y + x * scale + sum(others.values()) + sum(more)


CALLS = {
    "as observed": ((), {}),
    "a mask": ((torch.tensor(2.0),), {}),
    "another scale": ((None, 2.0), {}),
    "free arguments": ((None, 1.0, 3, 4), {}),
    "free keywords": ((), {"plus": 5}),
    "a keyword": ((), {"how": "mul"}),
    "a list": ((), {"maps": [1]}),
    "all": ((torch.tensor(2.0), 3.0, 4), {"how": "mul", "maps": [1], "more": 5}),
}


def operated(block, after="bn", **options):
    """A network with a mark behind one child of its block."""
    model = toy.Net(block).eval()
    site = next(iter(surgeon.plan(model, toy.Mark, **options)))
    assert (site.module, site.after) == ("block", after)
    return surgeon.inject(model, toy.Mark, **options)


@torch.no_grad()
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("training", [False, True])
def test_calls_of_every_kind(call, training):
    args, kwargs = CALLS[call]
    model = operated(Flexible()).train(training)
    block, gate = model.block, model.block.mark
    expected = Flexible.forward(block, X, *args, **copy.deepcopy(kwargs))
    gate.calls = 0
    assert torch.equal(block(X, *args, **copy.deepcopy(kwargs)), expected) and gate.calls == 1
    gate.weight.data.fill_(3)
    assert not torch.equal(block(X, *args, **copy.deepcopy(kwargs)), expected)


def test_what_is_given_to_a_list_arrives():
    block, maps = operated(Flexible()).block, [1]
    block(X, maps=maps)
    assert len(maps) == 2 and isinstance(maps[1], torch.Tensor)


SIGNATURES = [Flexible, toy.Residual, toy.Mode]


@pytest.mark.parametrize("block", SIGNATURES)
@pytest.mark.parametrize("where", ["residual", "*block", "input"])
def test_signatures_are_those_of_the_originals(block, where):
    model = surgeon.inject(toy.Net(block()), toy.Mark, where=where)
    changed = [module for module in model.modules() if hasattr(module, "grafted_from")]
    assert changed
    for module in changed:
        assert inspect.signature(type(module).forward) == inspect.signature(module.grafted_from[0].forward)
        assert inspect.signature(module.forward).parameters.keys() == inspect.signature(
            module.grafted_from[0].forward
        ).parameters.keys() - {"self"}


class Sets(toy.Residual):
    def forward(self, x, keep=False):
        y = self.bn(self.conv(x))
        if keep:
            self.kept = y
        return y + x


def test_what_a_forward_sets_is_set_on_the_module():
    block = operated(Sets()).block
    children, held = dict(block._modules), dict(vars(block))
    block(X, keep=True)
    assert block.kept.shape == X.shape and block._modules == children
    del block.kept
    assert vars(block) == held


class Nested(nn.Module):
    """The branch ends in a child of a child, which is called in two places."""

    def __init__(self):
        super().__init__()
        self.branch = toy.Residual()
        self.bound = self.way

    def way(self, x):
        return self.branch.bn(self.branch.conv(x))

    def forward(self, x, twice=False):
        y = self.bound(x)
        return y * 2 + x if twice else y + x


@torch.no_grad()
def test_a_child_of_a_child():
    block = operated(Nested(), "branch_bn").block
    expected, block.mark.calls = Nested.forward(block, X, twice=True), 0
    assert torch.equal(block(X, twice=True), expected) and block.mark.calls == 1
    block.branch.bn(X)
    assert block.mark.calls == 1


@torch.no_grad()
def test_an_operation_on_an_operated_block():
    model = operated(Flexible())
    surgeon.inject(model, toy.Mark, where="block.conv")
    surgeon.inject(model, "se", where="*block")
    block = model.block
    expected = Flexible.forward(block, X, None, 2.0)
    assert torch.equal(block(X, None, 2.0), expected) and block.mark.calls == 1


class Behind(toy.Residual):
    """The branch ends in a step of the forward's own."""

    def forward(self, x, maps, scale=1.0, *more):
        return self.bn(self.conv(x)) * 2 + x * scale + sum(maps)


class GivesMaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Behind()

    def forward(self, x):
        return self.block(x, [x, x])


REFUSALS = {
    "another value": (([X, X], 2.0), "called with scale=2.0, but surgeon rewrote its forward for scale=1.0"),
    "another length": (([X],), "called with 1 items in maps, but surgeon rewrote its forward for 2"),
    "a free argument": (
        ([X, X], 1.0, 1),
        "called with more arguments (more), but surgeon rewrote its forward for none",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_attention_behind_no_child_is_refused_in_one_line(case):
    args, told = REFUSALS[case]
    model = toy.Net(GivesMaps()).eval()
    surgeon.inject(model, toy.Mark)
    with pytest.raises(BadInput) as caught:
        model.block.block(X, *args)
    assert (
        str(caught.value)
        == f"block.block: {told}. Pass example_inputs= that reach it this way, or call surgeon.remove(model) first."
    )


@pytest.mark.parametrize(("value", "observed", "answer"), [
    (None, None, True), (1, 1.0, True), (True, True, True), (math.nan, math.nan, True), ("a", "b", False), (torch.ones(2), 1.0, False),
    (None, 1.0, False), (torch.ones(1), None, False), (0, None, False),
])  # fmt: skip
def test_same(value, observed, answer):
    assert same(value, observed) is answer


def test_of_a_proxy_nobody_can_tell():
    proxy = fx.Proxy(fx.Graph().placeholder("x"), fx.proxy.GraphAppendingTracer(fx.Graph()))
    assert same(proxy, None) and as_many(proxy, 3) and none(proxy)
    assert not as_many(3, 1) and not none((1,))
    assert Guard("as_many", "maps", "2").text == "as_many(maps, 2)" and Guard("none", "args").text == "none(args)"


def test_parameters_as_text():
    told, handed_on = header(Flexible.forward)
    assert told == "(self, x, mask=None, /, scale=None, *more, maps=None, how=None, **others)"
    assert handed_on == "x, mask, scale, *more, maps=maps, how=how, **others"
    assert (
        argument(Flexible.forward, "input.how.3").place is None and argument(Flexible.forward, "input.scale").place == 2
    )


@torch.no_grad()
@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_go_the_same_ways(again):
    model = again(operated(Flexible()))
    assert torch.equal(model.block(X, None, 2.0), Flexible.forward(model.block, X, None, 2.0))


@torch.no_grad()
def test_in_one_graph():
    block = operated(Flexible()).block
    expected = block(X)
    assert torch.equal(torch.compile(block, fullgraph=True, backend="eager")(X), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit3", "test_mambaout", "test_convnext"])
def test_feature_extractors_of_operated_networks(name):
    model, image = timm.create_model(name).eval(), torch.randn(1, 3, 160, 160)
    block = next(path for path, module in model.named_modules() if path.endswith(("blocks.0", "blocks.1")))
    before = timm.models.create_feature_extractor(model, [block])(image)[block]
    surgeon.inject(model, "cbam", where=block if name == "test_convnext" else "residual")
    assert torch.equal(timm.models.create_feature_extractor(model, [block])(image)[block], before)


class Pair(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv, self.kind = toy.conv(8, 8), kind

    def forward(self, x):
        return self.kind([self.conv(x), x.mean()])


class Unpacks(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.pair = Pair(kind)

    def forward(self, x, scale=1.0):
        y, _ = self.pair(x)
        return y + x * scale


@torch.no_grad()
@pytest.mark.parametrize(
    "kind", [tuple, list, torch.nn.modules.adaptive._ASMoutput._make], ids=["tuple", "list", "named"]
)
def test_one_item_of_what_a_child_returns(kind):
    block = operated(Unpacks(kind), "getitem").block
    expected, block.mark.calls = Unpacks.forward(block, X, 2.0), 0
    assert torch.equal(block(X, 2.0), expected) and block.mark.calls == 1


def test_a_class_answers_to_its_name():
    block = operated(Flexible()).block
    assert type(block) is not Flexible and str(type(block)) == str(Flexible)
