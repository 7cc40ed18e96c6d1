"""The neutral and the eager start: no bit changes, and the last layers learn from the first step on."""

import pytest
import torch
from torch import nn

from surgeon.attention import TABLE, attention_modules, build, record
from surgeon.attention.gate import SILENT, SLOPE
from surgeon.attention.published_names import gammas
from tests.shared import formulas
from tests.shared.bits import same_bits
from tests.shared.gates import randomized
from tests.shared.layouts import DTYPES, LAYOUTS
from tests.shared.numbers import awkward
from tests.shared.pairs import pairs

pytestmark = pytest.mark.fast
starts = pytest.mark.parametrize("init", SILENT)
forms = pytest.mark.parametrize(("name", "options"), formulas.FORMS, ids=formulas.NAMES)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("form", "dtype", "init"), pairs(formulas.NAMES, DTYPES, SILENT))
def test_the_same_bits(form, dtype, init, training):
    name, options = formulas.FORMS[formulas.NAMES.index(form)]
    gate, x = build(name, 16, init=init, **options).to(dtype).train(training), awkward((2, 16, 5, 6), dtype)
    assert same_bits(gate(x), x)
    x[0, 3, 2, 2], x[1, 5, 0, 0] = float("inf"), float("-inf")
    assert same_bits(gate(x), x)
    x[0, 1, 0, 0] = float("nan")
    y = gate(x)
    assert torch.equal(y.isnan(), x.isnan()) and same_bits(y.nan_to_num(nan=1.0), x.nan_to_num(nan=1.0))


@starts
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*TABLE, "timm:gc"])
def test_the_same_bits_on_every_layout(init, name, layout):
    shape, how = LAYOUTS[layout]
    gate, x = build(name, 16, dims=how.dims if how else 2, init=init), awkward(shape, torch.float32)
    gate.layout = how
    assert same_bits(gate(x), x)


@starts
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", TABLE)
def test_the_same_bits_in_autocast(init, name, dtype):
    gate, x = build(name, 16, init=init), awkward((2, 16, 5, 6), dtype)
    with torch.autocast("cpu", dtype=dtype):
        assert same_bits(gate(x), x)


@starts
@forms
def test_the_network_before_it_has_its_own_gradient(init, name, options):
    gate, x = build(name, 16, init=init, **options), torch.randn(2, 16, 5, 6, requires_grad=True)
    grad = torch.randn(2, 16, 5, 6)
    gate(x).backward(grad)
    assert torch.equal(x.grad, grad)


@starts
@forms
def test_the_last_layers_learn_first_and_then_all(init, name, options):
    # Wide, so that no hidden layer is dead.
    wide = {} if name == "eca" else {"reduction": 1}
    gate = build(name, 64, init=init, **options | wide)
    layers = {path: [*layer.parameters(recurse=False)] for path, layer in gate.named_modules()}
    layers = {path: weights for path, weights in layers.items() if weights}
    silent = {path for path, weights in layers.items() if not any(weight.any() for weight in weights)}
    optimizer = torch.optim.SGD(gate.parameters(), lr=1e-3)
    learning = []
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.randn(8, 64, 5, 6)
        (gate(x) * torch.randn(64, 1, 1)).square().mean().backward()
        learning.append({path for path, weights in layers.items() if weights[0].grad.any()})
        optimizer.step()
    assert learning[0] == silent
    # Of a maximum of two branches, the smaller one may rest.
    assert learning[2] == set(layers) or options.get("combine") == "max"


@starts
@pytest.mark.parametrize(
    ("name", "options", "silent"),
    [
        ("cbam", {}, {"channel.fc2", "spatial.bn"}),
        ("cbam", {"norm": False}, {"channel.fc2", "spatial.conv"}),
        ("bam", {}, {"channel.fc2"}),
        ("bam", {"form": "paper"}, {"channel.bn2", "spatial.bn4"}),
        ("bam", {"branches": "spatial"}, {"spatial.conv4"}),
        ("se", {"bias": False}, {"fc2"}),
        ("eca", {}, {"conv"}),
    ],
)
def test_which_layers_are_zero(init, name, options, silent):
    gate = build(name, 64, init=init, **options)
    layers = {path: [*layer.parameters(recurse=False)] for path, layer in gate.named_modules()}
    assert {
        path for path, weights in layers.items() if weights and not any(weight.any() for weight in weights)
    } == silent


def twins(start, name, options):
    """A gate that started silent, and a published one with the same weights."""
    neutral, paper = (randomized(build(name, 32, init=init, **options)).eval() for init in (start, "paper"))
    for key, tensor in neutral.state_dict().items():
        if key.endswith(("gain", "slope")):
            tensor.fill_(2 if key.endswith("gain") else SLOPE)
    weights = {key: value for key, value in neutral.state_dict().items() if not key.endswith(("gain", "slope"))}
    paper.load_state_dict(weights)
    return neutral, paper


@starts
@forms
def test_its_factors_are_the_published_ones_rescaled(init, name, options):
    if name == "bam" and init == "eager":
        pytest.skip("what is recorded of BAM are means of its scale, which tell nothing of its scores")
    neutral, paper = twins(init, name, options)
    slope = SLOPE if init == "eager" else 1
    x = torch.randn(2, 32, 5, 6, dtype=torch.float64)
    order = options.get("order", "channel-first")
    with record(nn.ModuleList([neutral, paper])) as maps:
        neutral(x), paper(x)
    for kind, (scale,) in maps["0"].items():
        # The second of two branches sees what the first has scaled.
        if (
            order == "parallel"
            or name != "cbam"
            or kind == {"channel-first": "channel", "spatial-first": "spatial"}[order]
        ):
            (published,) = maps["1"][kind]
            score = torch.logit(published - 1 if name == "bam" else published)
            torch.testing.assert_close(scale, 2 * torch.sigmoid(slope * score))


@starts
@forms
def test_with_a_gain_and_a_slope_of_1_it_is_the_published_module(init, name, options):
    """Which is what `surgeon.load_published` makes of every gamma, gain and slope."""
    neutral, paper = twins(init, name, options)
    opened = gammas(attention_modules(nn.Sequential(neutral)))
    assert {key.rpartition(".")[2] for key in opened} == ({"gain", "slope"} if init == "eager" else {"gain"})
    for key in opened:
        neutral.get_buffer(key.removeprefix("0.")).fill_(1)
    x = torch.randn(2, 32, 5, 6, dtype=torch.float64)
    assert torch.equal(neutral(x), paper(x))


@starts
def test_a_module_from_elsewhere_keeps_its_gamma(init):
    assert build("timm:gc", 16, init=init).gamma is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_twice_the_sigmoid_of_zero_is_one(zero, dtype):
    # Lengths on both sides of what a vector register holds.
    for length in (1, 7, 64, 1001):
        assert torch.all(2 * torch.sigmoid(torch.full((length,), zero, dtype=dtype)) == 1)


@pytest.mark.parametrize("name", TABLE)
def test_an_eager_gate_learns_ten_times_as_fast(name):
    """Under Adam, whose steps are as long as the rate, the scores go ten times as far; the factors, while these are small."""
    options, x = ({} if name == "eca" else {"reduction": 2}), torch.randn(8, 32, 5, 6)
    moved = {}
    for init in SILENT:
        torch.manual_seed(0)
        gate = build(name, 32, init=init, **options)
        optimizer = torch.optim.Adam(gate.parameters(), lr=1e-5)
        (gate(x) * torch.arange(32.0).view(32, 1, 1)).sum().backward()
        optimizer.step()
        moved[init] = (gate(x) - x).abs().mean().item()
    assert moved["eager"] == pytest.approx(10 * moved["neutral"], rel=0.02)
