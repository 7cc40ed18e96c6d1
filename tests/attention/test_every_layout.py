"""Every gate at every layout, in every precision: at the start the same bits, and prefix tokens always.

Two at a time: each gate at each layout, each gate in each precision, each layout in each precision. What a gate does to a
map, how a layout turns it, and in which numbers, are three places in the code.
"""

import pytest
import torch

from surgeon.attention import build, probe
from surgeon.attention.naming import TIMM
from surgeon.errors import BadModule
from tests.shared import formulas
from tests.shared.bits import assert_same_bits
from tests.shared.layouts import DTYPES, LAYOUTS
from tests.shared.modules import Scaled, Squeezed, anywhere
from tests.shared.numbers import awkward
from tests.shared.pairs import pairs

# For maps of any size: attention in blocks of one pixel, and the size that one of them has to know beforehand.
SETTINGS = {
    "timm:halo": {"block_size": 1, "halo_size": 1},
    "timm:bat": {"block_size": 1},
    "timm:bottleneck": {"feat_size": (5, 6)},
}


def assert_untouched(gate, x):
    """In both modes `gate` returns the bits of `x` in the same order, in memory of its own."""
    for training in (True, False):
        y = gate.train(training)(x)
        assert_same_bits(y, x)
        assert y.stride() == x.stride() and y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(("form", "layout", "dtype"), pairs(formulas.NAMES, [*LAYOUTS], DTYPES))
def test_identity_on_every_layout(form, layout, dtype):
    name, options = formulas.FORMS[formulas.NAMES.index(form)]
    shape, how = LAYOUTS[layout]
    gate = build(name, 16, dims=how.dims if how else 2, **options).to(dtype)
    gate.layout = how
    assert_untouched(gate, awkward(shape, dtype))


# timm 1.0.31 can't build `ge`; test_options.py asks for its words.
ELSEWHERE = {name: name for name in TIMM if name != "timm:ge"} | {
    "Scaled": Scaled,
    "anywhere": anywhere,
    "Squeezed": Squeezed,
}


def why_not(name, how):
    """Why a module from elsewhere can't be at such maps, as the error puts it; None where it can."""
    dims = how.dims if how else 2
    if name == "timm:bottleneck" and dims != 2:
        return (
            "BottleneckAttn does not run on a map of .*: ValueError"  # told one height and width, it takes no other map
        )
    if name == "Squeezed" and dims != 3:
        return (
            "Squeezed does not run on a map of .*: ValueError: expected 5D input"  # an image has no frames to make up
        )
    return None


@pytest.mark.parametrize(("name", "layout", "dtype"), pairs([*ELSEWHERE], [*LAYOUTS], DTYPES))
def test_identity_of_modules_from_elsewhere(name, layout, dtype):
    shape, how = LAYOUTS[layout]
    gate = build(ELSEWHERE[name], 16, dims=how.dims if how else 2, **SETTINGS.get(name, {})).to(dtype)
    x = awkward(shape, dtype)
    if why_not(name, how):
        with pytest.raises(BadModule, match=why_not(name, how)):
            probe(gate, how.view(x).shape if how else shape, dtype)
        return
    gate.layout = how
    assert_untouched(gate, x)


@pytest.mark.parametrize("layout", ["NHWC", "NDHWC", "tokens", "tokens and five in front", "video tokens"])
@pytest.mark.parametrize("name", ["cbam", "bam", "se", "eca", "timm:gc", "timm:coord"])
def test_a_layout_changes_nothing_but_the_order_of_axes(name, layout):
    shape, how = LAYOUTS[layout]
    gate = build(name, 16, dims=how.dims, init="paper").eval()
    x = torch.randn(shape)
    want = gate(how.view(x))
    gate.layout = how
    y = gate(x)
    torch.testing.assert_close(how.view(y), want)
    assert torch.equal(y[:, : how.prefix], x[:, : how.prefix])
