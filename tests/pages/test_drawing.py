"""What is drawn of a network: each step once, sites where they are, branches told from shortcuts."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon import rulebook
from surgeon.anatomy.watch import observed
from surgeon.errors import UnusedSite
from surgeon.pages.draw import draw, draw_alone, entries
from surgeon.pages.forward import Forward
from surgeon.pages.glyph import glyph
from surgeon.pages.sketch import Box, Line, Mark, Stage
from surgeon.pages.units import units
from surgeon.pages.words import about, places, scale, where, zoom
from surgeon.sites import Plan, Site
from tests.shared import toy


def sketched(model, image, *plans):
    with observed(model, image) as observation:
        return draw(observation, entries(plans), rulebook.load())


def box_of(sketch, name):
    return next(box for box in sketch.boxes if box.name == name)


@pytest.fixture
def image():
    return toy.image()


def test_blocks_and_layers_in_order(image):
    sketch = sketched(toy.Net(), image)
    assert [box.name for box in sketch.boxes] == ["stem", "block", "down", "fc"]
    assert [(stage.name, stage.shape) for stage in sketch.stages] == [
        ("stem, block", "8 × 8 × 8"),
        ("down", "8 × 4 × 4"),
        ("fc", "4"),
    ]


def test_no_step_is_in_two_units(image):
    for model in (toy.Net(toy.TwoAdds()), toy.Net(toy.Projected()), toy.Net(toy.Shared())):
        with observed(model, image) as observation:
            nodes = [node for unit in units(observation.scene, rulebook.load()) for node in unit.nodes]
        assert len(nodes) == len(set(nodes))


def test_parameters_and_multiply_adds(image):
    sketch, model = sketched(toy.Net(), image), toy.Net()
    assert sketch.parameters == sum(weight.numel() for weight in model.parameters())
    assert {box.name: box.macs for box in sketch.boxes} == {
        "stem": 3 * 8 * 9 * 8 * 8,
        "block": 8 * 8 * 9 * 8 * 8,
        "down": 8 * 8 * 9 * 4 * 4,
        "fc": 8 * 4,
    }
    assert sketch.macs == sum(box.macs for box in sketch.boxes)
    assert {box.name: box.parameters for box in sketch.boxes}["fc"] == 8 * 4 + 4


def test_a_module_that_runs_twice_is_counted_at_each_call(image):
    sketch = sketched(toy.Shared(), torch.zeros(2, 8, 8, 8))
    assert [box.macs for box in sketch.boxes] == [8 * 8 * 9 * 64] * 2 and sketch.macs == 2 * 8 * 8 * 9 * 64


def test_a_forward_before_and_after(image):
    model = toy.Net(toy.Projected())
    box = box_of(sketched(model, image, surgeon.plan(model, "se", example_inputs=image)), "block")
    assert box.before == (
        Line("conv", "Sequential", shape="8 × 8 × 8", beside=True, forks=True),
        Line("bn", "BatchNorm2d", beside=True),
        Line("downsample", "Conv2d", "on x", way="shortcut", beside=True),
        Line("add", given="bn + downsample", way="join"),
        Line("relu"),
    )
    new = Line("se", way="new", beside=True)
    assert [line for line in box.after if line not in box.before] == [
        new,
        Line("add", "", "se + downsample", "", "join"),
    ]
    assert [line.name for line in box.after] == ["conv", "bn", "se", "downsample", "add", "relu"]
    assert box.projected == {0} and box.cells == 1


def test_two_branches_of_one_block(image):
    model = nn.Sequential(toy.conv(3, 8), toy.TwoAdds())
    sketch = sketched(model, image, surgeon.plan(model, "se", example_inputs=image))
    assert [(mark.step, mark.cell) for mark in sketch.marks] == [(0, 0), (2, 1)]
    assert [line.way for line in box_of(sketch, "1").after] == ["branch", "new", "join", "branch", "new", "join"]


@pytest.mark.parametrize(
    ("place", "box", "step", "cell"),
    [("residual", "block", 1, 0), ("block", "block", 3, None), ("final", "down", 0, None), ("input", "stem", -1, None)],
)
def test_where_each_place_is_drawn(image, place, box, step, cell):
    model = toy.Net()
    sketch = sketched(model, image, surgeon.plan(model, "se", where=place, example_inputs=image))
    (mark,) = sketch.marks
    assert (mark.step, mark.cell) == (step, cell) and box_of(sketch, box).marks == (mark,)


def test_a_site_inside_a_layer_of_a_block(image):
    model = toy.Net(toy.Projected())
    sketch = sketched(model, image, surgeon.plan(model, "se", where="block.conv.0", example_inputs=image))
    (mark,) = sketch.marks
    assert mark.told == "in block.conv.0, after output"
    assert where(mark, box_of(sketch, "block")) == "after conv.0"


@pytest.mark.parametrize(
    ("path", "told"), [("block.conv", "instead of it"), ("block.conv.0", "instead of block.conv.0")]
)
def test_attention_in_a_modules_place(image, path, told):
    model = toy.Net(toy.Projected())
    sketch = sketched(model, image, surgeon.plan(model, "se", where=path, replace=True, example_inputs=image))
    box = box_of(sketch, "block")
    (mark,) = box.marks
    assert where(mark, box) == f"instead of {path}" and about(mark) == "8 × 8 × 8"
    (line,) = (line for line in box.after if line.way == "new")
    assert (line.given, places([mark])) == (told, "in a module’s place")


def test_two_gates_of_one_module_have_opened_each_by_its_own_share(image):
    model = nn.Sequential(toy.conv(3, 8), toy.TwoAdds())
    plan = surgeon.plan(model, "se", example_inputs=image)
    surgeon.apply(model, plan, example_inputs=image)
    shares = {path: 0.1 * number for number, path in enumerate(surgeon.attention_modules(model), 1)}
    assert [entry.opened for entry in entries([plan], shares)] == [0.1, 0.2]


class Nested(nn.Module):
    """A block with a smaller one inside it."""

    def __init__(self):
        super().__init__()
        self.inner = toy.Residual()
        self.body = nn.Sequential(toy.conv(8, 8), nn.ReLU(), toy.conv(8, 8))

    def forward(self, x):
        x = self.inner(x)
        return x + self.body(x)


def test_a_block_inside_a_larger_one_is_a_line_of_it(image):
    model = toy.Net(Nested())
    sketch = sketched(model, image, surgeon.plan(model, "se", example_inputs=image))
    box = box_of(sketch, "block")
    assert [(mark.step, mark.cell, mark.joined, mark.is_passed) for mark in box.marks] == [
        (0, None, 0, True),
        (1, 0, 0, True),
    ]
    assert [(line.name, line.given) for line in box.after] == [
        ("inner", ""),
        ("se", "in block.inner, after bn"),
        ("body", ""),
        ("se (2)", ""),
        ("add", "inner + se (2)"),
    ]
    svg = glyph(box).svg
    assert svg.count('<circle class="site"') == 2 and svg.index('class="site"') < svg.index('class="box"')


def test_a_block_of_blocks_is_opened(image):
    class Group(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Deep(toy.Residual):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(toy.conv(8, 8), toy.conv(8, 8))

    sketch = sketched(toy.Net(Group(Deep(), Deep())), image)
    assert [box.name for box in sketch.boxes][:3] == ["stem", "block.0", "block.1"]


def test_no_site_is_left_out_even_if_its_module_did_not_run(image):
    model = toy.Net()
    site = Site("nobody", "output", "residual", 8, (4, 4))
    sketch = sketched(model, image, Plan("se", (site,)))
    assert sketch.stages[-1].name == "elsewhere" and [mark.site for mark in sketch.marks] == [site]


def test_sites_that_can_not_learn_are_known():
    model = toy.Tokens()
    with pytest.warns(UnusedSite):
        plan = surgeon.plan(model, "se", example_inputs=toy.image())
    (mark,) = sketched(model, toy.image(), plan).marks
    assert not mark.site.read and 'class="site unread"' in glyph(Box("", "", 8, (4, 4), cells=1, marks=(mark,))).svg


def test_sites_alone_where_there_is_no_network():
    sites = (
        Site("a", "x", "residual", 8, (4, 4)),
        Site("a", "y", "residual", 8, (4, 4)),
        Site("b", "output", "final", 8, (2, 2)),
    )
    sketch = draw_alone(entries([Plan("se", sites)]))
    assert not sketch.is_whole and [mark.site for mark in sketch.marks] == [*sites]
    assert [(stage.name, len(stage.marks)) for stage in sketch.stages] == [("a", 2), ("b", 1)]


def test_the_drawing_of_a_block():
    site = Site("", "", "", 64, (14, 14))
    svg = glyph(Box("", "", 64, (14, 14), cells=1, projected=frozenset({0}), marks=(Mark(7, site, "se", cell=0),))).svg
    assert [svg.count(f'class="{kind}"') for kind in ("box", "bow", "own", "sum", "site")] == [1] * 5
    assert 'data-n="7"' in svg and '<path class="site"' not in svg
    behind = glyph(Box("", "", 64, (14, 14), marks=(Mark(7, site, "se"),))).svg
    assert '<path class="site"' in behind and "bow" not in behind


def test_large_maps_are_drawn_high_and_many_channels_wide():
    small, large = (glyph(Box("", "", 64, (side, side))) for side in (7, 56))
    narrow, wide = (glyph(Box("", "", channels, (7, 7))) for channels in (64, 512))
    assert large.height > small.height and large.width == small.width
    assert wide.width > narrow.width and wide.height == narrow.height


def test_many_blocks_are_drawn_small():
    few, many, most = (Stage("", (7, 7), (Box("", "", 64, (7, 7)),) * count) for count in (3, 50, 500))
    assert (scale(few), zoom(few)) == (1, 1)
    assert scale(many) < 1 == zoom(many) and zoom(most) < 1


def test_a_forward_without_attention_has_no_new_line(image):
    with observed(toy.Net(), image) as observation:
        lines = [Forward(unit, observation.scene.maps).lines() for unit in units(observation.scene, rulebook.load())]
    assert "new" not in {line.way for unit in lines for line in unit}
