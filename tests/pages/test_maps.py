"""Attention maps: a gate that is known is seen as it is, Grad-CAM is the package's own, and bad input is one line."""

import csv

import pytest
import timm
import torch
from torch import nn

import surgeon
from surgeon.attention.layouts import Layout
from surgeon.errors import BadFile, BadInput, BadModel, BadOption, UnknownName
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


def test_sites_are_chosen_by_globs(images):
    model = surgeon.inject(toy.Net().eval(), "cbam", where=["residual", "final"], example_inputs=images)
    assert [*surgeon.maps(model, images, sites=["down"], cam=False).spatial] == ["down.cbam"]


def refused(images):
    gated = surgeon.inject(toy.Net().eval(), "se", example_inputs=images)
    several = surgeon.inject(toy.Returns(toy.Net(), lambda y: {"out": y}).eval(), "se", example_inputs=images)
    return {
        "no attention": (lambda: surgeon.maps(toy.Net(), images), BadModel, "there is no attention here to look at"),
        "site": (lambda: surgeon.maps(gated, images, sites=["blok"]), UnknownName, "'blok' matches none of the 1 attention"),
        "layer": (lambda: surgeon.maps(gated, images, layer="blok"), UnknownName, "no module 'blok' returns a map. Did you mean 'block'"),
        "shape": (lambda: surgeon.maps(gated, images[0]), BadInput, "images must be N x 3 x H x W or N x 1 x H x W, not 3 x 16 x 16"),
        "none": (lambda: surgeon.maps(gated, []), BadInput, "no image is given"),
        "classes": (lambda: surgeon.maps(gated, images, classes=[1]), BadOption, "classes has 1 numbers for 2 images"),
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


def test_a_folder_that_is_there_is_kept(images, tmp_path):
    seen = surgeon.maps(surgeon.inject(toy.Net().eval(), "se", example_inputs=images), images, cam=False)
    (tmp_path / "maps").mkdir()
    with pytest.raises(BadFile, match="maps exists. --force"):
        seen.save(tmp_path / "maps")
    seen.save(tmp_path / "maps", force=True)
    assert (tmp_path / "maps" / "index.html").is_file()
