"""From a name and options to a gate; everything that can't be is one clear line."""

import inspect
import re

import pytest
import torch
from timm.layers import create_attn
from torch import nn

from surgeon.attention import TABLE, build, cost, name_of, options_of, probe, register, spec_of
from surgeon.attention.naming import TIMM
from surgeon.errors import BadModule, BadOption, SurgeonError, UnknownName
from tests.shared.bits import assert_same_bits


class Halver(nn.Module):
    """A user's attention."""

    def __init__(self, channels, factor=0.5):
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), factor))

    def forward(self, x):
        return x * self.scale


def halver(channels):
    return Halver(channels)


@pytest.mark.parametrize(
    ("attention", "name", "spec"),
    [
        ("cbam", "cbam", "cbam"),
        (TABLE["cbam"], "cbam", "cbam"),
        ("timm:gc", "gc", "timm:gc"),
        ("timm:lambda", "lambda_", "timm:lambda"),
        (f"{__name__}:Halver", "halver", f"{__name__}:Halver"),
        (Halver, "halver", f"{__name__}:Halver"),
        (halver, "halver", f"{__name__}:halver"),
        (lambda channels: Halver(channels), "lambda_", None),
    ],
)
def test_what_attention_may_be(attention, name, spec):
    assert (name_of(attention), spec_of(attention)) == (name, spec)
    if attention != "timm:lambda":
        gate, x = build(attention, 8), torch.randn(2, 8, 4, 4)
        assert torch.equal(gate(x), x)
        assert gate.made == {
            "attention": spec,
            "channels": 8,
            "dims": 2,
            "init": "identity",
            "instead": False,
            "options": {},
        }


def test_a_registered_name():
    register("mine", Halver)
    assert name_of("mine") == "mine" and spec_of(Halver) == "mine" and options_of("mine") == {"factor": 0.5}
    x = torch.ones(1, 4, 2, 2)
    assert torch.equal(build("mine", 4, init="paper", factor=0.25)(x), x / 4)


def test_a_gate_of_the_users_own_is_not_wrapped():
    class Mine(TABLE["se"]):
        pass

    assert type(build(Mine, 8, reduction=2)) is Mine


@pytest.mark.parametrize("name", TABLE)
def test_options_are_listed_with_their_defaults(name):
    options = options_of(name)
    assert not {"init", "dims", "channels"} & options.keys()
    assert build(name, 32, **options).state_dict().keys() == build(name, 32).state_dict().keys()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: build("cbma", 8), UnknownName, r"^unknown attention 'cbma'\. Did you mean 'cbam'\? Known: bam, cbam"),
        (lambda: build("timm:gcc", 8), UnknownName, r"^unknown attention 'timm:gcc'\. Did you mean 'timm:gc'\?"),
        (lambda: build("timm:", 8), UnknownName, r"^unknown attention 'timm:'\."),
        (lambda: build("no.such:Thing", 8), UnknownName, r"^can't import 'no\.such:Thing': No module named 'no'\."),
        (lambda: build("torch.nn:Thing", 8), UnknownName, r"^can't import 'torch\.nn:Thing': .*package\.module:Class"),
        (lambda: build(":", 8), UnknownName, r"^can't import ':'"),
        (
            lambda: build("cbam", 8, reductio=4),
            BadOption,
            r"^cbam has no option 'reductio'\. Did you mean 'reduction'\? Known: bias, branches,",
        ),
        (lambda: build("timm:gc", 8, rdratio=1), BadOption, r"^gc has no option 'rdratio'\. Did you mean 'rd_ratio'\?"),
        (lambda: build("cbam", 0), BadOption, r"^channels must be a whole number of at least 1, not 0\.$"),
        (lambda: build(Halver, 0), BadOption, r"^channels must be a whole number of at least 1, not 0\.$"),
        (
            lambda: build("cbam", 8, reduction=0),
            BadOption,
            r"^reduction must be a whole number of at least 1, not 0\.$",
        ),
        (
            lambda: build("se", 8, reduction=2.5),
            BadOption,
            r"^reduction must be a whole number of at least 1, not 2\.5\.$",
        ),
        (lambda: build("se", 8, reduction=True), BadOption, r"^reduction must be a whole number"),
        (lambda: build("cbam", 8, kernel_size=4), BadOption, r"^kernel_size must be odd, so that .* size, not 4\.$"),
        (lambda: build("eca", 8, kernel_size=2), BadOption, r"^kernel_size must be odd"),
        (lambda: build("cbam", 8, pools=("avg", "mox")), BadOption, r"^pools can't be 'mox'\. Did you mean 'max'\?"),
        (
            lambda: build("cbam", 8, pools=()),
            BadOption,
            r"^pools must be names from avg, max, lp, lse, each at most once",
        ),
        (lambda: build("cbam", 8, pools="avg,avg"), BadOption, r"^pools must be names .* not \['avg', 'avg'\]\.$"),
        (lambda: build("cbam", 8, pools=3), BadOption, r"^pools must be names .* not 3\.$"),
        (lambda: build("cbam", 8, bias="no"), BadOption, r"^bias must be True or False, not 'no'\.$"),
        (
            lambda: build("cbam", 8, order="channel"),
            BadOption,
            r"^order can't be 'channel'\. Did you mean 'channel-first'\?",
        ),
        (lambda: build("cbam", 8, branches=("channel",)), BadOption, r"^branches can't be \('channel',\)\."),
        (lambda: build("cbam", 8, branches=["channel"]), BadOption, r"^branches can't be \['channel'\]\."),
        (
            lambda: build("bam", 8, form="published"),
            BadOption,
            r"^form can't be 'published'\. Known: paper, released\.$",
        ),
        (lambda: build("bam", 8, dilation=0), BadOption, r"^dilation must be a whole number of at least 1, not 0\.$"),
        (lambda: build("bam", 8, combine="mean"), BadOption, r"^combine can't be 'mean'\."),
        (
            lambda: build("se", 8, init="zero"),
            BadOption,
            r"^init can't be 'zero'\. Known: eager, identity, neutral, paper\.$",
        ),
        (lambda: build(Halver, 8, init="zero"), BadOption, r"^init can't be 'zero'\."),
        (lambda: build("se", 8, dims=4), BadOption, r"^dims can't be 4\. Known: 1, 2, 3\.$"),
        (lambda: build(lambda channels: 3, 8), BadModule, r"^the attention made 'int', not a torch\.nn\.Module\.$"),
        (lambda: build(nn.Conv2d, 8), BadModule, r"^conv2d could not be made for 8 channels: TypeError: .*missing"),
        (lambda: build(Halver(8), 8), BadModule, r"is not a class or a callable `channels -> Module`"),
        (lambda: build(8, 8), BadModule, r"^8 is not a class or a callable"),
        (lambda: register("cbam", Halver), BadOption, r"^can't register 'cbam': it is surgeon's own\.$"),
        (lambda: register("my attention", Halver), BadOption, r"^can't register 'my attention': it can't be the name"),
        (lambda: register("ours", 3), BadModule, r"^can't register 'ours': 3 can't be called"),
    ],
)
def test_what_cannot_be(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class Chatty(nn.Module):
    """Does to a map what `deed` says."""

    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def forward(self, x):
        return self.deed(x)


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (lambda x: x[:, :, ::2], r"^Chatty changes the shape: 2 x 8 x 6 x 4 in, 2 x 8 x 3 x 4 out\."),
        (lambda x: x.double(), r"^Chatty changes the dtype: torch\.float32 in, torch\.float64 out\."),
        (lambda x: x.to("meta"), r"^Chatty changes the device: cpu in, meta out\."),
        (lambda x: x.mul_(2), r"^Chatty changes its input in place"),
        (lambda x: (x, x), r"^Chatty returns a tuple, not a map\.$"),
        (lambda x: x.view(3, 5), r"^Chatty does not run on a map of 2 x 8 x 6 x 4: RuntimeError: "),
    ],
)
def test_a_module_that_does_not_keep_the_map_is_found_on_fake_tensors(deed, message):
    with pytest.raises(BadModule, match=message) as caught:
        probe(build(lambda channels: Chatty(deed), 8), (2, 8, 6, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*TABLE, "timm:gc", Halver])
def test_probing_leaves_a_module_as_it_was(name, dtype):
    gate = build(name, 16).train()
    before = {key: tensor.clone() for key, tensor in gate.state_dict().items()}
    probe(gate, (1, 16, 6, 4), dtype)
    assert all(module.training for module in gate.modules())
    assert_same_bits(gate.state_dict(), before)


def test_probing_and_cost_of_a_module_on_meta():
    with torch.device("meta"):
        gate = build("cbam", 256, init="paper")
    probe(gate, (2, 256, 14, 14))
    assert cost(gate, (256, 14, 14)) == (8564, 4 * 256 * 16 + 98 * 14 * 14)


@pytest.mark.parametrize("name", TIMM)
def test_every_layer_of_timms_works_or_says_why_not(name):
    try:
        gate = build(name, 64)
        probe(gate, (1, 64, 56, 56))
    except SurgeonError as error:
        # Some releases can't build GatherExcite; BottleneckAttn wants feat_size, the size of the map.
        assert name in ("timm:ge", "timm:bottleneck") or name not in offered()
        assert "\n" not in str(error)
    else:
        x = torch.randn(1, 64, 56, 56)
        assert torch.equal(gate.eval()(x), x)


def test_timms_own_options_reach_its_layers():
    gate, x = build("timm:bottleneck", 64, feat_size=(6, 6)), torch.randn(1, 64, 6, 6)
    assert torch.equal(gate(x), x) and gate.made["options"] == {"feat_size": (6, 6)}


def offered():
    """The names in the branches of the installed timm's `get_attn`."""
    source = inspect.getsource(inspect.getmodule(create_attn))
    return {f"timm:{name}" for name in re.findall(r"attn_type == '(\w+)'", source)}


def test_every_name_of_timms_is_listed():
    assert "timm:gc" in offered() and offered() <= set(TIMM)


def test_counting_costs_hooks_no_module_of_the_process():
    class Watching(torch.nn.Module):
        def forward(self, x):
            seen.append(len(torch.nn.modules.module._global_forward_pre_hooks))
            return x * 1

    seen = []
    before = len(torch.nn.modules.module._global_forward_pre_hooks)
    cost(build(lambda channels: Watching(), 8), (8, 4, 4))
    assert seen and set(seen) == {before}


@pytest.mark.parametrize("inference", [False, True])
def test_costs_are_the_same_under_inference_mode(inference):
    with torch.inference_mode(inference):
        assert cost(build("se", 256, init="paper"), (256, 56, 56)) == (8464, 8192)
