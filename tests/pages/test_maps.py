"""Attention maps: a gate that is known is seen as it is, Grad-CAM is the package's own, and bad input is one line."""

import csv
from copy import deepcopy

import pytest
import timm
import torch
from torch import nn

import surgeon
from surgeon.attention.layouts import Layout
from surgeon.errors import BadFile, BadInput, BadModel, BadOption, UnknownName
from surgeon.pages import album
from surgeon.trace.noise import note
from tests.shared import toy
from tests.shared.gates import stir

pytestmark = pytest.mark.tools

Image = pytest.importorskip("PIL.Image", reason='pip install "attention-surgeon[plots]"')
cam = pytest.importorskip("pytorch_grad_cam", reason='pip install "attention-surgeon[plots]"')
SIDE = 16


class Plain(nn.Module):
    """A positive map, a layer after it, and a score for each of four classes."""

    def __init__(self):
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.mix, self.fc = self.mixing(), nn.Linear(8, 4)

    def mixing(self):
        return nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.fc(self.mix(self.act(self.stem(x))).mean((2, 3)))


class ChannelsLast(Plain):
    def mixing(self):
        return nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(self.mix(self.act(self.stem(x).permute(0, 2, 3, 1))).mean((1, 2)))


class Tokens(ChannelsLast):
    def forward(self, x):
        return self.fc(self.mix(self.act(self.stem(x).flatten(2).transpose(1, 2))).mean(1))


NETWORKS = {"NCHW": Plain, "NHWC": ChannelsLast, "NLC": Tokens}


@pytest.fixture
def images():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def looking_at_a_corner(kind, images, **where):
    """A network with a gate whose convolution over positions is low wherever there is anything above it or to its left."""
    model = surgeon.inject(kind().eval(), "cbam", where="act", branches="spatial", example_inputs=images)
    (gate,) = surgeon.attention_modules(model).values()
    with torch.no_grad():
        weight = next(layer.weight for layer in gate.modules() if isinstance(layer, nn.Conv2d))
        weight.zero_()
        weight[:, :, :3] = -1
        weight[:, :, :, :3] = -1
        for layer in gate.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
    return model


@pytest.mark.parametrize("layout", NETWORKS)
def test_a_gate_that_looks_at_a_corner_is_bright_there(layout, images, tmp_path):
    model = looking_at_a_corner(NETWORKS[layout], images)
    seen = surgeon.maps(model, images)
    (path,) = surgeon.attention_modules(model)
    scores = seen.spatial[path]
    assert scores.shape == (2, SIDE, SIDE) and not seen.channel and not seen.silent
    assert torch.equal(scores.flatten(1).argmax(1), torch.zeros(2).long())
    assert float(scores[:, 0, 0].min()) == 1 and float(scores.flatten(1)[:, 1:].max()) < 0.9
    seen.save(tmp_path / "maps")
    for name in seen.names:
        picture = Image.open(tmp_path / "maps" / name / f"{path}.spatial.png").convert("L")
        pixels = torch.tensor(list(picture.tobytes())).view(picture.height, picture.width).float()
        corner, far = pixels[:10, :10].mean(), pixels[picture.height // 2 :, picture.width // 2 :].mean()
        assert corner > 2 * far
        rows = list(csv.reader(open_text(tmp_path / "maps" / name / f"{path}.spatial.csv")))
        assert torch.equal(
            torch.tensor([[float(cell) for cell in row] for row in rows]), scores[seen.names.index(name)]
        )


def open_text(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_the_corner_would_be_missed_in_another_gate(images):
    model = surgeon.inject(Plain().eval(), "cbam", where="act", branches="spatial", example_inputs=images)
    scores = surgeon.maps(model, images, cam=False).spatial["act.cbam"]
    assert torch.equal(scores, torch.ones_like(scores))


def own_cam(model, layer, images, classes, reshape=None):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with cam.GradCAM(model, [layer], reshape_transform=reshape) as made:
        return torch.from_numpy(made(images, [ClassifierOutputTarget(number) for number in classes]))


def test_grad_cam_without_attention_is_the_packages_own_to_the_bit(images):
    plain = toy.Net().eval()
    classes = plain(images).argmax(1).tolist()
    own = own_cam(plain, plain.down, images, classes)
    model = stir(surgeon.inject(plain, "cbam", where=["residual", "final"], example_inputs=images))
    seen = surgeon.maps(model, images, classes=classes)
    assert seen.layer == "down" and [*seen.classes] == classes
    assert torch.equal(seen.cams["attention off"], own) and own.max() > 0
    assert not torch.equal(seen.cams["attention on"], own)


@pytest.mark.parametrize("layout", ["NHWC", "NLC"])
def test_grad_cam_of_other_layouts(layout, images):
    plain = NETWORKS[layout]().eval()
    move = {"NHWC": lambda x: x.movedim(-1, 1), "NLC": lambda x: x.transpose(1, 2).unflatten(2, (SIDE, SIDE))}[layout]
    own = own_cam(plain, plain.mix, images, [0, 0], move)
    model = surgeon.inject(plain, "se", where="act", example_inputs=images)
    seen = surgeon.maps(model, images, classes=0)
    assert seen.layer == "mix" and torch.equal(seen.cams["attention off"], own)
    assert torch.equal(seen.cams["attention on"], own)


def test_where_only_a_class_token_is_read_the_last_map_before_is_weighed():
    model = timm.create_model("test_vit", num_classes=4).eval()
    images = torch.rand(2, 3, *model.pretrained_cfg["input_size"][1:])
    last = len(model.blocks) - 1
    reshape = Layout("NLC", model.patch_embed.grid_size, prefix=1).view
    own = own_cam(model, model.blocks[last].norm1, images, [0, 1], reshape)
    surgeon.inject(model, "se", example_inputs=images)
    seen = surgeon.maps(model, images, classes=[0, 1])
    assert seen.layer == f"blocks.{last}.norm1" and torch.equal(seen.cams["attention off"], own) and own.max() > 0


def test_the_layer_may_be_said(images):
    model = surgeon.inject(toy.Net().eval(), "se", example_inputs=images)
    assert surgeon.maps(model, images, layer="block").layer == "block"


def test_the_model_is_left_as_it_was(images):
    model = surgeon.inject(toy.Net(), "cbam", example_inputs=images).train()
    surgeon.freeze(model)
    model(images).sum().backward()
    modes = [module.training for module in model.modules()]
    gradients = {name: None if w.grad is None else w.grad.clone() for name, w in model.named_parameters()}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    surgeon.maps(model, images)
    assert model.training and [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for name, weight in model.named_parameters():
        assert (weight.grad is None) == (gradients[name] is None)
        assert weight.grad is None or torch.equal(weight.grad, gradients[name])


def test_channels_and_gates_without_factors(images, tmp_path):
    model = surgeon.inject(toy.Net().eval(), "se", where="residual", example_inputs=images)
    surgeon.inject(model, toy.Mark, where="final", example_inputs=images)
    seen = surgeon.maps(model, images, cam=False)
    assert seen.channel["block.se"].shape == (2, 8) and not seen.cams
    assert [*seen.silent.values()] == ["it has no factors that could be shown"]
    seen.save(tmp_path / "maps")
    assert "it has no factors that could be shown" in (tmp_path / "maps" / "index.html").read_text(encoding="utf-8")
    rows = list(csv.reader(open_text(tmp_path / "maps" / "image-1" / "block.se.channel.csv")))
    assert [float(score) for _, score in rows[1:]] == seen.channel["block.se"][0].tolist()


def test_the_page_leads_to_files_that_are_there(images, tmp_path):
    import re
    from urllib.parse import unquote

    model = surgeon.inject(toy.Net().eval(), "cbam", example_inputs=images)
    surgeon.maps(model, images).save(tmp_path / "maps")
    text = (tmp_path / "maps" / "index.html").read_text(encoding="utf-8")
    files = [unquote(name) for name in re.findall(r'src="([^"]*)"', text)]
    assert len(files) == 2 * 5 and all((tmp_path / "maps" / name).is_file() for name in files)
    assert "http" not in text and "attention off" in text
    rows = list(csv.DictReader(open_text(tmp_path / "maps" / "summary.csv")))
    assert len(rows) == 2 * 4 and {row["kind"] for row in rows} == {"spatial", "channel", "grad-cam"}


def test_networks_side_by_side(images, tmp_path):
    plain = toy.Net().eval()
    stock = deepcopy(plain)
    se = stir(surgeon.inject(deepcopy(plain), "se", example_inputs=images))
    cbam = stir(surgeon.inject(plain, "cbam", where=["residual", "final"], example_inputs=images))
    seen = surgeon.maps(cbam, images, classes=[1, 2], beside={"plain": stock, "se/1": se}, name="mine")
    assert [*seen.cams] == ["plain", "se/1", "attention off", "attention on"] == [*seen.layers]
    for name, network in (("plain", stock), ("se/1", se), ("attention on", cbam)):
        assert torch.equal(seen.cams[name], own_cam(network, network.down, images, [1, 2]))
        assert torch.allclose(seen.sure[name], network(images).softmax(1)[[0, 1], [1, 2]])
    assert torch.equal(seen.cams["plain"], seen.cams["attention off"])
    seen.save(tmp_path / "maps")
    written = {path.stem for path in (tmp_path / "maps" / "image-1").glob("grad-cam*.png")}
    assert written == {"grad-cam-plain", "grad-cam-se_1", "grad-cam-off", "grad-cam-on"}
    text = (tmp_path / "maps" / "index.html").read_text(encoding="utf-8")
    assert (
        f"class 1 at down, P = {float(seen.sure['plain'][0]):.2f}".replace(" =", "\xa0=").replace("= ", "=\xa0") in text
    )
    assert all(
        f"<b>Grad-CAM, {name}</b>" in text for name in ("plain", "se/1", "mine, attention off", "mine, attention on")
    )


def test_a_share_that_is_hardly_there():
    assert (album.sure(0.994), album.sure(0.004)) == ("P\xa0=\xa00.99", "P\xa0<\xa00.01")


class Film(nn.Module):
    """A positive map of a clip with every other frame, a layer after it, and scores."""

    def __init__(self):
        super().__init__()
        self.stem, self.act = nn.Conv3d(3, 8, 3, (2, 1, 1), padding=1), nn.ReLU()
        self.mix, self.fc = nn.Conv3d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.mix(self.act(self.stem(x))).mean((2, 3, 4)))


def test_clips_are_drawn_as_frames(tmp_path):
    clips = torch.rand(2, 3, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    plain = Film().eval()
    own = own_cam(plain, plain.mix, clips, [0, 1])
    model = surgeon.inject(plain, "cbam", where="act", branches="spatial", example_inputs=clips)
    (gate,) = surgeon.attention_modules(model).values()
    with torch.no_grad():
        (conv,) = (layer for layer in gate.modules() if isinstance(layer, nn.Conv3d))
        # Low wherever a frame comes before.
        conv.weight.zero_()
        conv.weight[:, :, : conv.kernel_size[0] // 2] = -1
        for layer in gate.modules():
            if isinstance(layer, nn.BatchNorm3d):
                nn.init.ones_(layer.weight)
    seen = surgeon.maps(model, clips, classes=[0, 1])
    scores = seen.spatial["act.cbam"]
    assert scores.shape == (2, 2, SIDE, SIDE) and (scores[:, 0] == 1).all() and (scores[:, 1] < 0.9).all()
    assert seen.cams["attention off"].shape == (2, 4, SIDE, SIDE) and torch.equal(seen.cams["attention off"], own)
    seen.save(tmp_path / "maps")
    strip = Image.open(tmp_path / "maps" / "clip-1" / "act.cbam.spatial.png").convert("L")
    pixels = torch.tensor(list(strip.tobytes())).view(strip.height, strip.width).float()
    assert strip.width == 4 * strip.height + 3 * album.GAP
    frames = [pixels[:, at : at + strip.height].mean() for at in range(0, strip.width, strip.height + album.GAP)]
    # The first of the map's two frames is drawn over two of the clip.
    assert min(frames[:2]) > 1.5 * max(frames[2:])
    rows = open_text(tmp_path / "maps" / "clip-1" / "act.cbam.spatial.csv")
    assert rows.index("") == SIDE and len(rows) == 2 * SIDE + 1
    assert "2 clips" in (tmp_path / "maps" / "index.html").read_text(encoding="utf-8")


def test_a_folder_of_frames_is_a_clip(tmp_path):
    model = surgeon.inject(Film().eval(), "se", where="act", example_inputs=torch.rand(1, 3, 4, 8, 8))
    for number in range(7):
        (tmp_path / "clip").mkdir(exist_ok=True)
        Image.new("L", (9, 9), 30 * number).save(tmp_path / "clip" / f"{number}.png")
    seen = surgeon.maps(model, [tmp_path / "clip"], cam=False)
    assert seen.names == ("clip",) and seen.pixels.shape == (1, 3, 4, 8, 8)
    assert (seen.pixels[0, 0, :, 0, 0] * 255).round().tolist() == [0, 60, 120, 180]
    with pytest.raises(BadInput, match="0.png is no folder: this network takes clips of 4 frames"):
        surgeon.maps(model, [tmp_path / "clip" / "0.png"], cam=False)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_images_of_any_kind_for_a_network_that_takes_grey_ones(mode, tmp_path):
    model = surgeon.inject(surgeon.samples.load("digits"), "se")
    Image.new(
        mode, (40, 20), {"I;16": 128 * 257, "RGB": (128, 128, 128), "RGBA": (128, 128, 128, 255)}.get(mode, 128)
    ).save(tmp_path / "a.png")
    seen = surgeon.maps(model, [tmp_path / "a.png"])
    assert seen.pixels.shape == (1, 1, 32, 32) and len(seen.classes) == 1
    if mode != "P":
        assert float(seen.pixels.mean() * 255) == pytest.approx(128, abs=1)


def test_sites_are_chosen_by_globs(images):
    model = surgeon.inject(toy.Net().eval(), "cbam", where=["residual", "final"], example_inputs=images)
    assert [*surgeon.maps(model, images, sites=["down"], cam=False).spatial] == ["down.cbam"]


def ten():
    model = toy.Net()
    model.fc = nn.Linear(8, 10)
    return model


def refused(images):
    gated = surgeon.inject(toy.Net().eval(), "se", example_inputs=images)
    several = surgeon.inject(toy.Returns(toy.Net(), lambda y: {"out": y}).eval(), "se", example_inputs=images)
    return {
        "no attention": (lambda: surgeon.maps(toy.Net(), images), BadModel, "there is no attention here to look at"),
        "site": (lambda: surgeon.maps(gated, images, sites=["blok"]), UnknownName, "'blok' matches none of the 1 attention"),
        "layer": (lambda: surgeon.maps(gated, images, layer="blok"), UnknownName, "no module 'blok' returns a map. Did you mean 'block'"),
        "shape": (lambda: surgeon.maps(gated, images[0]), BadInput, "images must be N x 3 x H x W or N x 1 x H x W, or clips of .*, not 3 x 16 x 16"),
        "none": (lambda: surgeon.maps(gated, []), BadInput, "no image is given"),
        "classes": (lambda: surgeon.maps(gated, images, classes=[1]), BadOption, "classes has 1 numbers for 2 images"),
        "no such class": (lambda: surgeon.maps(gated, images, classes=9), BadOption, "there is no class 9: the network tells 4 apart"),
        "beside": (lambda: surgeon.maps(gated, images, beside={"ten": ten()}), BadInput, "ten: it tells 10 classes apart, and .* beside 4"),
        "beside without": (lambda: surgeon.maps(gated, images, cam=False, beside={"a": toy.Net()}), BadOption, "leave them out, or cam=False"),
        "scores": (lambda: surgeon.maps(several, images), BadInput, "needs one score for each class, and Returns returns dict: cam=False"),
    }  # fmt: skip


@pytest.mark.parametrize("case", refused(toy.image()))
def test_bad_input_is_one_line(case, images):
    call, kind, told = refused(images)[case]
    with pytest.raises(kind, match=told) as error:
        call()
    assert "\n" not in str(error.value)


def test_files_that_are_no_images(tmp_path):
    model = surgeon.inject(toy.Net().eval(), "se", example_inputs=toy.image())
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    for path, told in (
        (tmp_path / "text.png", "text.png is no image that can be read"),
        (tmp_path / "empty", "empty has no image in it"),
        (tmp_path / "nowhere.png", "there is no image .*nowhere.png"),
    ):
        with pytest.raises(BadInput, match=told):
            surgeon.maps(model, [path])


def test_image_files_are_resized_and_normalised(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 127)).save(tmp_path / "red.png")
    Image.new("L", (8, 8), 51).save(tmp_path / "grey.jpg")
    model = surgeon.inject(toy.Net().eval(), "se", example_inputs=toy.image())
    seen = surgeon.maps(model, tmp_path, size=(16, 24), cam=False)
    assert seen.names == ("grey", "red") and seen.pixels.shape == (2, 3, 16, 24)
    assert torch.allclose(seen.pixels[1].mean((1, 2)), torch.tensor([1, 0, 127 / 255]), atol=1e-3)
    from surgeon.pages.pictures import IMAGENET, read

    taken = read([tmp_path / "red.png"], model, size=(16, 24)).images[0, :, 0, 0]
    expected = (torch.tensor([1, 0, 127 / 255]) - torch.tensor(IMAGENET[0])) / torch.tensor(IMAGENET[1])
    assert torch.allclose(taken, expected, atol=1e-6)
    with pytest.raises(BadOption, match="mean has 2 numbers, and the images have 3 channels"):
        surgeon.maps(model, tmp_path, mean=(0.5, 0.5), cam=False)


def test_a_network_of_one_size_that_nobody_would_guess(tmp_path):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 40 * 48, 4)).eval()
    surgeon.inject(model, "se", where="0", example_inputs=torch.rand(1, 3, 40, 48))
    note(model, None)
    assert surgeon.maps(model, tmp_path, size=(40, 48), cam=False).pixels.shape == (1, 3, 40, 48)
    with pytest.raises(BadInput, match="runs on no image that surgeon can think of"):
        surgeon.maps(model, tmp_path, cam=False)


def test_a_folder_that_is_there_is_kept(images, tmp_path):
    seen = surgeon.maps(surgeon.inject(toy.Net().eval(), "se", example_inputs=images), images, cam=False)
    (tmp_path / "maps").mkdir()
    with pytest.raises(BadFile, match="maps exists. --force"):
        seen.save(tmp_path / "maps")
    seen.save(tmp_path / "maps", force=True)
    assert (tmp_path / "maps" / "index.html").is_file()
