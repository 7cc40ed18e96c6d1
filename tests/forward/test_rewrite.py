"""Forwards as graphs: only those that do what was seen are believed."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import surgeon
from surgeon.anatomy.watch import observed
from surgeon.errors import BadInput, Untraceable
from surgeon.forward.alike import kind_of
from surgeon.forward.kept import Kept
from tests.shared import toy
from tests.shared.seen import scene


def text(block, path="block"):
    """Source of the rewritten forward of `block` in a network, for eval and for train mode."""
    with observed(toy.Net(block), toy.image()) as observation:
        forward = observation.rewrites_of(path)
    if isinstance(forward, Kept):
        raise forward.reason
    return forward.text


def refusal(block, path="block"):
    with pytest.raises(Untraceable) as caught:
        text(block, path)
    return str(caught.value)


def test_a_forward_that_never_reads_its_mode_has_one_text():
    evaluate, train = text(toy.Residual())
    assert evaluate == train and "self.conv(x)" in evaluate and "self.bn(conv)" in evaluate


def test_a_forward_that_does_has_two():
    evaluate, train = text(toy.Mode())
    assert "randn_like" in train and "randn_like" not in evaluate


def test_in_place_stays_in_place():
    evaluate, _ = text(toy.InPlace())
    assert "bn += x" in evaluate and "relu_(" in evaluate


def test_an_argument_that_was_none_is_held_to_it():
    model = surgeon.inject(toy.Net(toy.Optional()), toy.Mark)
    x = torch.zeros(1, 8, 4, 4)
    assert model.block(x).shape == x.shape
    with pytest.raises(BadInput, match="block: called with scale=2.0, but surgeon rewrote its forward for scale=1.0"):
        model.block(x, scale=2.0)
    with pytest.raises(BadInput, match="block: called with mask=tensor"):
        model.block(x, mask=torch.ones(1))


@pytest.mark.parametrize("arguments", [{}, {"mask": None, "scale": 2.0}, {"mask": torch.ones(1)}])
def test_arguments_are_those_that_the_parent_passes(arguments):
    model, x = toy.Net(toy.Calls(toy.Optional(), **arguments)).eval(), toy.image()
    y = model(x)
    assert torch.equal(surgeon.inject(model, toy.Mark)(x), y)
    assert surgeon.attention_modules(model)["block.block.mark"].calls == 1


class ByBuffer(toy.Residual):
    """Asks a buffer for its device and dtype at each call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.ones(8, 1, 1))

    def forward(self, x):
        ramp = torch.arange(8, device=self.table.device, dtype=self.table.dtype)
        return self.bn(self.conv(x)) * self.table + ramp.view(8, 1, 1) + x


def test_device_and_dtype_of_a_buffer_are_asked_for_at_each_call():
    model = surgeon.inject(toy.Net(ByBuffer()), toy.Mark)
    assert "meta" not in text(ByBuffer())[0]
    assert model.double()(toy.image().double()).dtype == torch.float64


class Sets(toy.Residual):
    def forward(self, x):
        self.last = x
        return self.bn(self.conv(x)) + x


class Counts(toy.Residual):
    count = 0

    def forward(self, x):
        self.count += 1
        return self.bn(self.conv(x)) + x


class Asks(toy.Residual):
    def forward(self, x):
        ramp = torch.arange(8.0, device=next(self.parameters()).device)
        return (
            self.bn(self.conv(x)) * self.conv.bias.new_ones(8, 1, 1)
            + x.to(next(self.parameters()).device)
            + ramp.view(8, 1, 1)
        )


class Free(toy.Residual):
    def forward(self, *maps):
        return self.bn(self.conv(maps[0])) + maps[0]


class ByNumber(toy.Residual):
    """Another way in eval mode than symbolic tracing would take."""

    def forward(self, x, flag=None):
        y = self.bn(self.conv(x))
        return y + x if isinstance(x, torch.Tensor) and type(x) is torch.Tensor else y * x


REFUSED = {
    toy.Branching: "stops the trace at `return y + x if x.sum() > 0 else y - x`",
    Sets: "block: its forward sets self.last, which a rewritten one would not.",
    Counts: "block: its forward sets self.count, which a rewritten one would not.",
    Asks: "block: ",
    Free: "block: called with free arguments *maps, which can't be rewritten.",
    ByNumber: "block: the traced forward differs from the real one at step 2: mul for add.",
}


@pytest.mark.parametrize("block", REFUSED)
def test_refusals(block):
    line = refusal(block())
    assert line.startswith("block: ") and REFUSED[block] in line and "\n" not in line


def test_a_list_that_is_emptied():
    line = "block.gathers: its forward changes the list that it is given, which a rewritten one would not."
    assert refusal(toy.ListArgument(), "block.gathers") == line


def test_a_forward_of_the_object_s_own():
    block = toy.Residual()
    block.forward = lambda x: x + 1
    assert refusal(block).startswith("block: its forward is set on the object")
    assert refusal(torch.fx.symbolic_trace(toy.Residual())).endswith("surgeon can extend that of a class only.")


def test_a_module_that_does_not_run():
    class Idle(toy.Residual):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(1, 1)

    assert refusal(Idle(), "block.spare") == "block.spare: the model does not run this module on the example input."


def test_called_in_several_ways():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = toy.Optional()

        def forward(self, x):
            return self.block(self.block(x), scale=2.0)

    assert (
        refusal(Twice(), "block.block")
        == "block.block: is called in several ways, and its forward differs between them."
    )


def test_tracing_leaves_no_constant_on_the_module():
    class FromNumbers(toy.Residual):
        def forward(self, x):
            return self.bn(self.conv(x)) + x * torch.from_numpy(__import__("numpy").ones(1, "float32"))

    block = FromNumbers()
    assert "makes a tensor" in refusal(block) or "differs" in refusal(block)
    assert not [name for name in vars(block) if "constant" in name]


def test_a_flag_and_a_number_that_is_equal_are_two_kinds_of_call():
    found = scene(toy.Net())
    graph = next(graph for graph in found.graphs if graph.path == "block")
    kinds = [kind_of(replace(graph, kwargs={"flag": flag})) for flag in (True, 1.0, False, 0.0)]
    assert len(set(kinds)) == 4
