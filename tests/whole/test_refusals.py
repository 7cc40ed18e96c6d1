"""Every bad input is one clear line, and the model is bit for bit and object for object as it was."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.attention import Gate
from surgeon.errors import (
    BadInput,
    BadModel,
    BadModule,
    BadOption,
    BadPlan,
    BadRule,
    CheckFailed,
    NoSite,
    SurgeonError,
    UnknownName,
)
from surgeon.surgery import splice
from tests.shared import toy


def state(model):
    """Everything that a failed operation must leave alone, by object and by number."""
    tensors = [
        (key, id(t), t._version, t.detach().numpy().tobytes()) for key, t in model.state_dict(keep_vars=True).items()
    ]
    modules = {
        path: (id(module), type(module), [*vars(module)], module.training, [*module._modules])
        for path, module in model.named_modules()
    }
    return tensors, modules


def refused(error, model, attention="cbam", **arguments):
    """The one line with which `inject` refuses, after which the model and the random numbers are as before."""
    before, numbers = state(model), torch.get_rng_state()
    with pytest.raises(error) as caught:
        surgeon.inject(model, attention, **arguments)
    assert caught.type is error and "\n" not in str(caught.value)
    assert state(model) == before and torch.equal(torch.get_rng_state(), numbers)
    return str(caught.value)


WORDS = {
    "unknown attention": (
        UnknownName, {"attention": "cbma"},
        "unknown attention 'cbma'. Did you mean 'cbam'? Known: ",
    ),
    "unknown place": (
        UnknownName, {"where": "residul"},
        "unknown place 'residul'. Did you mean 'residual'? Known: bottleneck, final, gate, input, residual. Modules that run: stem, block, down, fc.",
    ),
    "unknown place in a list": (
        UnknownName, {"where": ["final", "bottelneck"]},
        "unknown place 'bottelneck'. Did you mean 'bottleneck'? Known: bottleneck, final, gate, input, residual. Modules that run: stem, block, down, fc.",
    ),
    "unknown option": (
        BadOption, {"reductoin": 8},
        "cbam has no option 'reductoin'. Did you mean 'reduction'? Known: ",
    ),
    "bad value of an option": (
        BadOption, {"reduction": 0},
        "block: after bn: reduction must be a whole number of at least 1, not 0.",
    ),
    "unknown init": (BadOption, {"init": "papre"}, "init can't be 'papre'. Did you mean 'paper'? Known: eager, identity, neutral, paper."),
    "unknown check": (BadOption, {"check": "outputs"}, "check can't be 'outputs'. Did you mean 'output'? Known: output, stitches."),
    "a place that is not here": (
        NoSite, {"where": "bottleneck"},
        "'bottleneck' found no place in Net: its map gets smaller only in its stem or right behind it, at stem from 224 x 224, down from 112 x 112. Places that do exist here: final (1), input (1), residual (1).",
    ),
    "a glob that matches nothing": (
        NoSite, {"where": "blok.conv"},
        "'blok.conv' matches no module that runs. Did you mean 'block.conv'? Known: "
        "block, block.bn, block.conv, down, down.0, down.1, fc, stem, stem.0, stem.1.",
    ),
    "a module that returns no map": (
        NoSite, {"where": "blocks*"},
        "'blocks*' matches no module that runs. Did you mean 'block'? Known: "
        "block, block.bn, block.conv, down, down.0, down.1, fc, stem, stem.0, stem.1.",
    ),
    "an example of the wrong kind": (
        BadInput, {"example_inputs": 224},
        "example_inputs must be a tensor, a tuple of arguments, a dict or a text such as '1x3x64x64', not int.",
    ),
    "an example that does not run": (
        BadInput, {"example_inputs": torch.zeros(2, 5, 8, 8)},
        "Net does not run on an example input (2 x 5 x 8 x 8): ",
    ),
    "no folder of rules": (BadRule, {"rules": "nowhere"}, "nowhere: no such folder of rules."),
}  # fmt: skip


@pytest.mark.parametrize("case", WORDS)
def test_wrong_words(case):
    error, arguments, line = WORDS[case]
    told = refused(error, toy.Net(), **arguments)
    assert told == line or line.endswith((": ", " Known: ")) and told.startswith(line)


def test_a_place_that_this_network_lacks():
    plain = nn.Sequential(toy.conv(3, 8), nn.MaxPool2d(2), toy.conv(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert refused(NoSite, plain, where="residual") == (
        "'residual' found no place in Sequential: none of its 6 graphs adds two values. Places that do exist here: final (1), input (1)."
    )


def test_second_attention_at_the_same_site():
    model = surgeon.inject(toy.Net(), "cbam")
    line = "block: after bn: already has attention (block.cbam). Take it out with surgeon.remove(model), or choose other sites."
    assert refused(BadPlan, model) == line
    assert refused(BadPlan, model, "bam") == line
    assert refused(BadPlan, model, where="block.bn") == line


class Changes(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x[:, :, 1:]


def test_a_module_that_does_not_fit():
    assert refused(BadModule, toy.Net(), Changes) == (
        "block: after bn: Changes changes the shape: 2 x 8 x 112 x 112 in, 2 x 8 x 111 x 112 out. Attention has to keep it."
    )


def lazy():
    return toy.Net(nn.LazyConv2d(8, 3, padding=1))


def fx():
    return torch.fx.symbolic_trace(toy.Net())


WRAPPED = {
    "parallel": (
        lambda: nn.DataParallel(toy.Net()),
        "DataParallel is a wrapper: operate on model.module, and wrap it afterwards.",
    ),
    "compiled": (
        lambda: torch.compile(toy.Net(), backend="eager"),
        "this is a compiled model: operate on model._orig_mod, and compile it afterwards.",
    ),
    "compiled child": (
        lambda: toy.Net(torch.compile(toy.Residual(), backend="eager")),
        "'block' is a compiled model: put its _orig_mod there, and compile it afterwards.",
    ),
    "fx": (fx, "this is a torch.fx GraphModule: operate on the model that it was traced from."),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_wrapped_models(case):
    build, line = WRAPPED[case]
    assert refused(BadModel, build()) == line


def test_model_compiled_in_place():
    model = toy.Net()
    model.compile(backend="eager")
    assert (
        refused(BadModel, model)
        == "this model was compiled in place: operate first, and call model.compile() afterwards."
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_model():
    with pytest.raises(BadModel) as caught:
        surgeon.inject(torch.jit.script(toy.Net()), "cbam")
    assert (
        str(caught.value)
        == "RecursiveScriptModule is scripted, its forward can't be changed: operate on the model before torch.jit.script."
    )


def test_model_wrapped_for_training_in_many_processes(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(toy.Net())
        line = "DistributedDataParallel is a wrapper: operate on model.module, and wrap it afterwards."
        assert refused(BadModel, model) == line
    finally:
        torch.distributed.destroy_process_group()


def test_lazy_model():
    with pytest.raises(BadModel) as caught:
        surgeon.inject(lazy(), "cbam")
    assert str(caught.value) == "'block' is lazy and has no weights yet: run the model once on an image first."


def test_a_model_made_under_inference_mode():
    with torch.inference_mode():
        model = toy.Net()
    with pytest.raises(
        BadModel, match="made under torch.inference_mode.. and can never be trained: build the model outside of it"
    ):
        surgeon.inject(model, "cbam")


@pytest.mark.parametrize("thing", [None, "resnet50", nn.Module, {}])
def test_no_model_at_all(thing):
    with pytest.raises(BadModel) as caught:
        surgeon.inject(thing, "cbam")
    assert str(caught.value) == f"{type(thing).__name__} is no nn.Module: pass the network itself."


def test_an_input_that_can_t_be_guessed():
    # Its positions are for images of 16 x 16, and nothing in it says so.
    assert refused(BadInput, toy.Tokens()).startswith("Tokens does not run on an example input (2 x 3 x 224 x 224): ")
    assert refused(BadInput, toy.Tokens()).endswith(
        "Pass example_inputs= as the model takes them, such as torch.zeros(2, 3, 224, 224)."
    )
    assert surgeon.places(toy.Tokens(), example_inputs=toy.image())["residual"] == 1


BROKEN = {
    "id: x\nabout: y\nfind: {cals: conv2d}\n": "unknown word 'cals' in find ({file}, line 3). ",
    "id: x\nabout: [\n": "not YAML: expected the node content, but found '<stream end>' ({file}, line 3).",
    "- 1\n": "a rule is a mapping with the words id, about and find ({file}, line 1).",
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_rule_file(text, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    line = BROKEN[text].format(file=file)
    assert refused(BadRule, toy.Net(), where=str(file)).startswith(line)
    assert refused(BadRule, toy.Net(), rules=tmp_path).startswith(line)


def test_plan_for_another_network():
    plan = surgeon.plan(toy.Net(), "cbam")
    before = state(other := toy.Net(toy.TwoAdds()))
    with pytest.raises(BadPlan) as caught:
        surgeon.apply(other, plan)
    assert str(caught.value) == "this plan was made for a network with other weights than this Net: plan again."
    assert state(other) == before


def test_plan_without_sites():
    model = toy.Net()
    with pytest.raises(BadPlan) as caught:
        surgeon.apply(model, surgeon.plan(model, "cbam").without("block"))
    assert str(caught.value) == "this plan has no sites."


class Breaks(Gate):
    """Goes wrong when the third of its kind is made with weights."""

    count = 0

    def __init__(self, channels, *, init="identity", dims=2):
        super().__init__(channels, init=init, dims=dims)
        if torch.empty(0).device.type != "meta":
            type(self).count += 1
            if self.count == 3:
                raise RuntimeError("the third one breaks")

    def attend(self, x):
        return x


def deep():
    """Eight blocks in a row."""
    return toy.Net(nn.Sequential(*(toy.Residual() for _ in range(8))))


def test_failure_while_gates_are_made():
    model = deep()
    before = state(model)
    with pytest.raises(RuntimeError, match="the third one breaks"):
        surgeon.inject(model, Breaks)
    assert state(model) == before


def fails_at(call, number):
    """`call`, which raises instead at its `number`th call."""
    calls = []

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return call(*args, **kwargs)

    return broken


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_failure_in_the_middle_of_applying(number, monkeypatch):
    model = deep()
    before = state(model)
    plan = surgeon.plan(model, toy.Mark)
    monkeypatch.setattr(splice, "_show", fails_at(splice._show, number))
    with pytest.raises(KeyboardInterrupt):
        surgeon.apply(model, plan)
    assert state(model) == before


@pytest.mark.parametrize("step", ["count_stitches", "put_in"])
def test_failure_of_a_step(step, monkeypatch):
    model = toy.Net()
    before = state(model)
    monkeypatch.setattr(splice, step, fails_at(getattr(splice, step), 1))
    with pytest.raises(KeyboardInterrupt):
        surgeon.inject(model, toy.Mark)
    assert state(model) == before


class Doubles(Gate):
    """Claims to start as the identity, and does not."""

    def attend(self, x):
        return x * 2


def test_a_gate_that_is_no_identity_is_taken_out_again():
    line = refused(CheckFailed, toy.Net(), Doubles, check="output")
    assert line.startswith("the output differs from the original's by up to ") and line.endswith(
        "; the model is as it was."
    )
    assert surgeon.inject(toy.Net(), Doubles, check="output", init="paper")


def test_every_refusal_has_an_exit_code():
    kinds = [SurgeonError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    others = {kind.__name__: kind.exit_code for kind in kinds if kind.exit_code != 2}
    assert others == {"NoSite": 1, "CheckFailed": 3, "Interrupted": 130}
