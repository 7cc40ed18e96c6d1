"""The passes by loops compiled for a CPU: numbers, bits, what they are given, and how they come to be."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import surgeon
from surgeon import errors
from surgeon.attention import build
from surgeon.attention.passes import again, compiled, eager, formulas
from surgeon.attention.passes.compiled import library
from surgeon.attention.passes.compiled.grid import Grid
from surgeon.attention.passes.kernels import Additions
from tests.shared import toy
from tests.shared.compilers import compiles
from tests.shared.pairs import pairs
from tests.shared.steps import FORMS, ordered, outcome, plain, random, the_same

# Rows of all kinds of lengths: of whole lanes, with some left, of fewer than lanes; and one image, which is cut finer.
SHAPES = [(3, 16, 12, 10), (1, 33, 8, 9), (2, 70, 7, 7), (2, 8, 3, 5, 4), (2, 24, 40), (2, 5, 3, 3), (1, 300, 2, 8)]
COMPUTED = [torch.float32, torch.float64]
KINDS = [*COMPUTED, torch.bfloat16, torch.float16]


@compiles
@pytest.mark.parametrize(("form", "shape", "order"), pairs([*FORMS], SHAPES, ["first", "last", "tokens"]), ids=str)
def test_compiled_is_plain(form, shape, order, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], shape, torch.float64)
    gate.passes = "compiled"
    x, g = ordered(x, order), ordered(g, "last" if order == "last" else "first")
    the_same(outcome(gate, x, g), plain(gate, x, g, monkeypatch))


def kept(x, order):
    """A map (N, C, L) in that order."""
    return x.mT.contiguous().mT if order == "last" else x


def drawn(shape, dtype, order, seed=0):
    """Two maps of few different numbers, so that maxima are shared, factors, and gradients of what is read."""
    torch.manual_seed(seed)
    images, channels, positions = shape
    x, g = (kept(torch.randint(-8, 9, shape).to(dtype) / 4, order) for _ in range(2))
    kind = torch.promote_types(dtype, torch.float32)
    s, t = torch.rand(images, channels, dtype=kind), torch.rand(images, positions, dtype=kind)
    of_squeezed, of_pools = torch.randn(images, 2, positions, dtype=kind), torch.randn(images, 2, channels, dtype=kind)
    return x, g, s, t, of_squeezed, of_pools


def near(got, want, dtype):
    # Of numbers that are written in half precision, the nearest or its neighbour.
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype]
    torch.testing.assert_close(got, want.to(got.dtype), rtol=tolerance, atol=tolerance)


@compiles
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(16, 90), st.integers(16, 200)),
    seed=st.integers(0, 2**20),
    max_first=st.booleans(),
    inside=st.booleans(),
)
def test_each_pass_is_its_formula(dtype, order, shape, seed, max_first, inside):
    x, g, s, t, of_squeezed, of_pools = drawn(shape, dtype, order, seed)
    assert Grid.of(x) is not None
    kind = s.dtype
    pair, positions = compiled.pools(x, True)
    mean, most = formulas.pools(x)
    near(pair, torch.stack((mean, most), 1), kind)
    assert torch.equal(positions, formulas.first_positions(x, most))

    pair, channels, _ = compiled.squeeze(x, s, max_first, True)
    mean, most = formulas.squeeze(x, s)
    near(pair, torch.stack((most, mean) if max_first else (mean, most), 1), kind)
    assert torch.equal(channels, formulas.first_channels(x, s, most))

    assert torch.equal(compiled.product(x, s, t, None), formulas.product(x, s[:, :, None], t[:, None]))
    of_channels, of_positions = compiled.sums(g, x, s, t, (True, True))
    near(of_channels, formulas.channel_sums(g, x, t), kind)
    near(of_positions, formulas.position_sums(g, x, s), kind)

    want = again.weighted(x, of_squeezed, max_first, channels)
    near(compiled.weighted(x, of_squeezed, max_first, channels), want, kind)

    more = Additions(of_squeezed, max_first, channels, inside, of_pools, positions)
    got = compiled.spread(g, s, t, more)
    wide = eager.spread(g.to(kind, copy=True), s, t, more)
    near(got, wide, dtype)
    assert got.stride() == g.stride()


@compiles
@pytest.mark.parametrize("how", ["sum", "product", "max"])
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(2, 20, 65), (1, 64, 16)], ids=str)
def test_a_blend_is_its_formula(shape, dtype, order, how):
    x, g, a, b, *_ = drawn(shape, dtype, order)
    # Far from 0 as well, and equal ones; the sigmoid is computed in another way.
    a, b = (a * 300 - 150).round() / 4, (b * 300 - 150).round() / 4
    offset, factor = a.new_tensor([0.75]), a.new_tensor([-1.5])
    near(compiled.blend(x, a, b, offset, factor, how), formulas.blend(x.to(a.dtype), a, b, offset, factor, how), dtype)
    got = compiled.blend_sums(g, x, a, b, factor, how, True)
    want = formulas.blend_channels(g, x, a, b, factor, how), formulas.blend_positions(g, x, a, b, factor, how)
    for mine, other in zip(got, (*want, *formulas.blend_acts(g, x, a, b, how))):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@compiles
@pytest.mark.parametrize("dtype", COMPUTED, ids=str)
def test_scores_far_from_0_give_what_the_sigmoid_of_torch_gives(dtype):
    """Exactly 0 as well: by that a ReLU behind the gate hands a gradient on or not."""
    a = torch.tensor(
        [[-1e4, -745, -709.79, -709.77, -709.5, -700, -104, -88.73, -88.71, -88.5, -80, 0, 80, 90, 800, 1e4]],
        dtype=dtype,
    )
    x, b, offset, factor = torch.ones(1, 16, 16, dtype=dtype), a.new_zeros(1, 16), a.new_zeros(1), a.new_ones(1)
    got, want = compiled.blend(x, a, b, offset, factor, "sum")[0, :, 0], torch.sigmoid(a[0])
    torch.testing.assert_close(got, want, rtol=1e-5, atol=torch.finfo(dtype).tiny)
    assert torch.equal(got == 0, want == 0)


@compiles
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_infinity_and_nan_are_found(dtype, order):
    x = kept(torch.randn(2, 20, 33).to(dtype), order)
    x[0, 3, 20], x[0, 4, 32], x[1, 5, 7], x[1, 0, 0] = float("inf"), float("nan"), -float("inf"), float("nan")
    for axis, got in ((2, compiled.pools(x, False)[0]), (1, compiled.squeeze(x, None, False, False)[0])):
        torch.testing.assert_close(got[:, 1], x.amax(axis).to(got.dtype), equal_nan=True, rtol=0, atol=0)
        torch.testing.assert_close(got[:, 0], x.to(got.dtype).mean(axis), equal_nan=True)
    assert compiled.product(x, torch.ones(2, 20), None, None).isnan().sum() == 2


@compiles
@pytest.mark.parametrize("order", ["first", "last"])
def test_factors_of_another_shape_or_dtype(order):
    """As a hook on a layer may make them."""
    x = kept(torch.randn(3, 20, 33), order)
    s, t = torch.rand(1, 20).double(), torch.rand(3, 1).bfloat16()
    want = x * s.float()[:, :, None] * t.float()[:, None]
    torch.testing.assert_close(compiled.product(x, s, t, None), want)
    torch.testing.assert_close(compiled.squeeze(x, s, False, False)[0][:, 1], (x * s.float()[:, :, None]).amax(1))


@compiles
@pytest.mark.parametrize("form", ["cbam", "bam"])
@pytest.mark.parametrize("order", ["first", "last"])
def test_as_many_threads_as_there_are_compute_the_same_bits(form, order, monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS[form], (2, 40, 31, 29), torch.float32)
    gate.passes = "compiled"
    x, g = ordered(x, order), ordered(g, order)
    monkeypatch.setattr("surgeon.attention.passes.compiled.grid.torch.get_num_threads", lambda: 3)
    several = outcome(gate, x, g)
    monkeypatch.setattr("surgeon.attention.passes.compiled.grid.torch.get_num_threads", lambda: 1)
    the_same(several, outcome(gate, x, g), rtol=0, atol=0)


@compiles
@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca"])
def test_compiled_keeps_the_bits_at_the_start(name, dtype):
    torch.manual_seed(1)
    for init in ("eager", "identity"):
        gate, x = build(name, 16, init=init).to(dtype), torch.randn(2, 16, 9, 8, dtype=dtype, requires_grad=True)
        gate.passes = "compiled"
        y = gate(x)
        y.backward(g := torch.randn_like(y))
        assert torch.equal(y, x) and torch.equal(x.grad, g)
        with torch.no_grad():
            assert torch.equal(gate.eval()(x), x)


@compiles
@pytest.mark.parametrize("form", ["cbam", "bam"])
def test_compiled_has_second_derivatives(form):
    torch.manual_seed(1)
    gate, x, _ = random(*FORMS[form], (2, 8, 4, 5), torch.float64)
    gate.passes = "compiled"
    assert torch.autograd.gradgradcheck(gate.eval(), (x.requires_grad_(),), fast_mode=True)


def before_a_mean(gate, x):
    """The gradient is one number for each channel, said again at each position."""
    return gate(x).mean((2, 3)).square().sum()


def beside_others(gate, x):
    """The map, and its gradient, are parts of maps that lie side by side."""
    return torch.cat([gate(x[:, :16]), x], 1).square().sum()


def before_a_sum_beside_others(gate, x):
    """The gradient is one channel, said again for each, and a part of a wider map."""
    return torch.cat([gate(x[:, :16]).sum(1, keepdim=True), x], 1).square().sum()


def turned(gate, x):
    """The gradient lies in another order than the map."""
    return (gate(x[:, :16]).mT.contiguous() ** 3).sum()


def in_the_middle(gate, x):
    """Neither channels nor positions lie side by side."""
    return gate(x[:, ::2, :, ::2]).square().sum()


@compiles
@pytest.mark.parametrize("form", ["cbam", "bam", "se"])
@pytest.mark.parametrize(
    "way",
    [before_a_mean, beside_others, before_a_sum_beside_others, turned, in_the_middle],
    ids=lambda way: way.__name__,
)
def test_maps_and_gradients_that_lie_otherwise(way, form, monkeypatch):
    torch.manual_seed(1)
    channels = 32 if way is before_a_mean else 16
    name, options = FORMS[form]
    gate = build(name, channels, init="paper", **options).double()
    gate.passes = "compiled"

    def gradients():
        torch.manual_seed(2)
        x = torch.randn(3, 32, 6, 10, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(way(gate, x), [x, *gate.parameters()])

    got = gradients()
    gate.passes = "eager"
    for mine, other in zip(got, gradients()):
        torch.testing.assert_close(mine, other)


@compiles
def test_in_autocast_and_without_gradients():
    gate, x = build("cbam", 16, init="paper").eval(), torch.randn(2, 16, 6, 5)
    want = gate(x).detach()
    gate.passes = "compiled"
    with torch.inference_mode():
        torch.testing.assert_close(gate(x), want)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = gate(x.bfloat16().requires_grad_())
    y.float().square().sum().backward()
    torch.testing.assert_close(y.float(), want, rtol=0.02, atol=0.02)


@compiles
def test_a_map_can_be_written_into_afterwards():
    """As networks do, by `+=` and `relu_`."""
    gate = build("cbam", 16, init="paper")
    gate.passes = "compiled"
    for init in (None, torch.channels_last):
        x = torch.randn(2, 16, 6, 5).contiguous(memory_format=init or torch.contiguous_format).requires_grad_()
        y = gate(x)
        y += x
        y.relu_().sum().backward()
        assert x.grad is not None and y.is_contiguous(memory_format=init or torch.contiguous_format)


def test_on_meta_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(library, "compiled", no_compiler)
    gate = build("cbam", 16, init="paper").to("meta")
    gate.passes = "compiled"
    assert gate(torch.randn(2, 16, 5, 6, device="meta", requires_grad=True)).shape == (2, 16, 5, 6)


def no_compiler(*given, **options):
    raise FileNotFoundError("c++ and g++ and clang++ not found")


def test_nothing_to_compile_with_is_told_once_and_the_network_goes_on(monkeypatch):
    monkeypatch.setattr(library, "compiled", no_compiler)
    model = surgeon.inject(toy.Net(), "cbam")
    with pytest.warns(errors.NotCompiled, match=r"needs a C\+\+ compiler .*: c\+\+ and g\+\+ and clang\+\+ not found$"):
        assert surgeon.compile(model) is model
    assert all(gate.passes == "eager" for gate in surgeon.attention_modules(model).values())


def test_a_compiled_network_runs_on_a_machine_without_a_compiler(monkeypatch):
    torch.manual_seed(1)
    gate, x, g = random(*FORMS["cbam"], (3, 16, 6, 5), torch.float32)
    gate.passes = "compiled"
    monkeypatch.setattr(library, "compiled", no_compiler)
    library.library.cache_clear()
    try:
        with pytest.warns(errors.NotCompiled, match="not compiled") as told:
            got = outcome(gate, x, g)
    finally:
        library.library.cache_clear()
    assert len(told) == 1
    the_same(got, plain(gate, x, g, monkeypatch), rtol=1e-4, atol=1e-5)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Nothing was compiled yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.compiled.cache_clear()
    yield tmp_path / "surgeon"
    library.compiled.cache_clear()


@compiles
def test_loops_are_compiled_once_and_kept(elsewhere, monkeypatch):
    assert library.missing(torch.float32) is None
    (made,) = elsewhere.iterdir()
    before = made.stat()
    library.compiled.cache_clear()
    library.compiled(torch.float32)
    assert made.stat() == before and [*elsewhere.iterdir()] == [made]
    # Another source is another file.
    monkeypatch.setattr(library, "SOURCE", elsewhere.parent / "source")
    shutil.copytree(library.Path(library.__file__).parent / "source", library.SOURCE)
    with (library.SOURCE / "maps.h").open("a") as text:
        text.write("// more\n")
    library.compiled.cache_clear()
    library.compiled(torch.float32)
    assert len([*elsewhere.iterdir()]) == 2


@compiles
def test_what_can_not_be_compiled_leaves_nothing_and_says_so_in_a_line(elsewhere, monkeypatch):
    monkeypatch.setitem(library.KINDS, torch.float32, "Nothing")
    reason = library.missing(torch.float32)
    assert "\n" not in reason and "Nothing" in reason and "error" in reason
    assert [*elsewhere.iterdir()] == []


@compiles
def test_where_nothing_can_be_kept_loops_are_compiled_for_this_process(elsewhere):
    elsewhere.write_text("a file, not a folder")
    library._own_folder.cache_clear()
    assert library.missing(torch.float32) is None
    assert len([*library._own_folder().iterdir()]) == 1


def test_the_compiler_that_the_environment_names_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", f"{shutil.which('env')} g++")
    assert library.compiler() == [shutil.which("env"), "g++"]
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none not found"):
        library.compiler()


def test_a_network_without_attention_is_refused():
    with pytest.raises(errors.BadModel, match="no attention to compile; inject some first"):
        surgeon.compile(torch.nn.Linear(1, 1))
