"""Maps out of every order of axes, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surgeon.attention.layouts import Layout
from surgeon.errors import SurgeonError, UnknownName

SHAPES = {
    "NCL": ((2, 8, 12), (12,)),
    "NCHW": ((2, 8, 3, 4), (3, 4)),
    "NCDHW": ((2, 8, 2, 3, 2), (2, 3, 2)),
    "NHWC": ((2, 3, 4, 8), (3, 4)),
    "NDHWC": ((2, 2, 3, 2, 8), (2, 3, 2)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_there_and_back(name):
    shape, size = SHAPES[name]
    layout, x = Layout(name, size), torch.randn(shape)
    view = layout.view(x)
    assert view.shape == (2, 8, *size) and view.data_ptr() == x.data_ptr()
    assert layout.dims == len(size)
    back = layout.restore(view * 1, x)
    assert torch.equal(back, x) and back.stride() == x.stride()


@pytest.mark.parametrize("name", ["NCHW", "NCDHW"])
def test_channels_first_costs_nothing(name):
    shape, size = SHAPES[name]
    layout, x = Layout(name, size), torch.randn(shape)
    assert layout.view(x) is x and layout.restore(x, x) is x


WINDOWS = {
    # Windows and rows come in the order of the batch: window g of image n is map n * G + g.
    "NGLC": ((2, 3, 12, 8), lambda x: x.permute(0, 1, 3, 2).reshape(6, 8, 3, 4)),
    "NCGL": ((2, 8, 3, 12), lambda x: x.permute(0, 2, 1, 3).reshape(6, 8, 3, 4)),
    "NCL": ((2, 8, 12), lambda x: x.reshape(2, 8, 3, 4)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_and_rows_are_maps_of_their_own(name):
    shape, spelled_out = WINDOWS[name]
    layout, x = Layout(name, (3, 4)), torch.randn(shape)
    view = layout.view(x)
    assert layout.dims == 2 and torch.equal(view, spelled_out(x))
    back = layout.restore(view * 2, x)
    assert torch.equal(back, 2 * x) and back.is_contiguous()


@settings(max_examples=40)
@given(
    size=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    prefix=st.integers(0, 5),
    scale=st.integers(1, 3),
)
def test_tokens_there_and_back_at_any_scale(size, prefix, scale):
    layout, grid = Layout("NLC", size, prefix), tuple(n * scale for n in size)
    x = torch.randn(2, prefix + torch.Size(grid).numel(), 5)
    view = layout.view(x)
    assert view.shape == (2, 5, *grid)
    # Row by row, as patch embeddings flatten their map.
    assert torch.equal(view.flatten(2)[:, :, -1], x[:, -1])
    back = layout.restore(view * 2, x)
    assert torch.equal(back[:, :prefix], x[:, :prefix]) and torch.equal(back[:, prefix:], 2 * x[:, prefix:])
    assert back.is_contiguous()


def test_tokens_of_a_smaller_image():
    assert Layout("NLC", (14, 28)).view(torch.zeros(1, 7 * 14, 3)).shape == (1, 3, 7, 14)


@pytest.mark.parametrize("length", [13 * 14, 2, 195, 14 * 15])
def test_tokens_that_make_no_such_map(length):
    message = f"^{length} tokens make no map of the shape planned, 14 x 14: give the network an image"
    with pytest.raises(SurgeonError, match=message):
        Layout("NLC", (14, 14), prefix=1).view(torch.zeros(1, length + 1, 3))


def test_a_map_that_comes_back_in_another_order_is_put_right():
    layout, x = Layout("NHWC", (3, 4)), torch.randn(2, 3, 4, 8)
    assert layout.restore(layout.view(x).contiguous(), x).is_contiguous()


def test_unknown_layout():
    with pytest.raises(UnknownName, match="^unknown layout 'NLCC'. Did you mean 'NLC'."):
        Layout("NLCC", (3, 4))


@pytest.mark.export
@pytest.mark.parametrize("prefix", [0, 1])
def test_compiled_tokens_at_two_sizes(prefix):
    layout = Layout("NLC", (4, 6), prefix)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: layout.restore(layout.view(x) * 2, x), fullgraph=True, backend="aot_eager")
    for shape in [(2, 24), (3, 24), (2, 96), (2, 6)]:
        x = torch.randn(shape[0], shape[1] + prefix, 5)
        assert torch.equal(compiled(x)[:, prefix:], 2 * x[:, prefix:])
