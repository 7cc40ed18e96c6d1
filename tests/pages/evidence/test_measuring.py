"""What attention takes: gates whose time and memory are known are measured as they are."""

import time
from contextlib import contextmanager

import pytest
import torch

import surgeon
from surgeon.errors import BadInput
from surgeon.pages.evidence import measuring
from surgeon.pages.evidence.costs import milliseconds
from surgeon.pages.evidence.scoring import Variant
from surgeon.pages.measures import measures
from surgeon.trace.inputs import Arguments
from tests.shared import toy

SLEEP, FLOATS = 0.02, 1_000_000


class Sleeper(toy.Mark):
    """A gate that takes its time, and memory."""

    def attend(self, x):
        time.sleep(SLEEP)
        room = torch.empty(FLOATS)
        return super().attend(x) + 0 * room[0]


def slow():
    """A network with a slow gate and a quick one."""
    model = surgeon.inject(toy.Net().eval(), Sleeper, where="residual", example_inputs=toy.image())
    return surgeon.inject(model, toy.Mark, where="final", example_inputs=toy.image())


def test_a_slow_gate_is_slow():
    model, runs = slow(), []
    found = measuring.measured(model.train(), Arguments((toy.image(),), {}), rounds=3, progress=runs.append)
    (path,) = (path for path, gate in surgeon.attention_modules(model).items() if isinstance(gate, Sleeper))
    (other,) = (cost for name, cost in found.sites.items() if name != path)
    cost, (off, on) = found.sites[path], found.milliseconds
    assert cost.milliseconds >= 1000 * SLEEP > other.milliseconds and 0.5 < cost.share <= 1
    assert on >= 1000 * SLEEP > off and found.slower > 0.5 and found.middle[0] <= found.slower <= found.middle[1]
    assert cost.memory >= 4 * FLOATS > other.memory > 0
    assert found.memory[1] >= 4 * FLOATS > found.memory[0] > 0
    assert sum(runs) == measuring.steps(3) and found.example == "2 × 3 × 16 × 16 float32" and "torch" in found.machine
    gates = surgeon.attention_modules(model).values()
    assert model.training and all(gate.enabled and not gate._forward_hooks for gate in gates)


def test_getting_into_a_state_is_no_part_of_the_time():
    model = toy.Net().eval()

    @contextmanager
    def state():
        time.sleep(SLEEP)
        yield

    assert milliseconds([Variant(model, state)], toy.image(), rounds=3)[0] < 1000 * SLEEP


def test_each_site_gets_its_own_figure():
    model = toy.Net(toy.TwoAdds()).eval()
    plan = surgeon.plan(model, "se", where=["residual", "final"], example_inputs=toy.image())
    found = measures(model, plan, example=Arguments((toy.image(),), {}))
    assert {*found.costs} == {(site.module, site.after) for site in plan} and len(plan) == 3
    assert not surgeon.attention_modules(model)
    text = surgeon.pages.html(model, plan, example_inputs=toy.image(), measure=True)
    assert text.count("of a run;") == 3 and "2 × 3 × 16 × 16 float32" in text and "took turns" in text
    assert "of a run;" not in surgeon.pages.html(model, plan, example_inputs=toy.image())


def test_what_is_in_a_network_is_measured_too():
    text = surgeon.pages.html(slow(), example_inputs=toy.image(), measure=True)
    assert text.count("of a run;") == 2


def test_shapes_alone_take_no_time():
    with torch.device("meta"):
        model = toy.Net()
    plan = surgeon.plan(model, "se", example_inputs=toy.image())
    with pytest.raises(BadInput, match="has no weights, only shapes: it can't be measured"):
        surgeon.pages.html(model, plan, example_inputs=toy.image(), measure=True)
