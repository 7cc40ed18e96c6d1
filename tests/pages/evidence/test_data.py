"""Labelled images from a folder, from tensors, from a loader; one line where there is none."""

import pytest
import torch
from torch import nn

from surgeon.errors import BadInput
from surgeon.pages.evidence.data import labelled

Image = pytest.importorskip("PIL.Image")


class Grey(nn.Module):
    """A network for grey images of 32 x 32."""

    pretrained_cfg = {"input_size": (1, 32, 32), "crop_pct": 1.0}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1024, 2)

    def forward(self, x):
        return self.fc(x.flatten(1))


def folder(path, **classes):
    for name, colours in classes.items():
        (path / name).mkdir(parents=True)
        for number, colour in enumerate(colours):
            Image.new("L", (50, 40), colour).save(path / name / f"{number}.png")
    return path


@pytest.mark.parametrize("inside", ["", "val", "test"])
def test_a_folder_for_each_class(tmp_path, inside):
    folder(tmp_path / inside, dark=[0, 51], light=[255])
    found = labelled(str(tmp_path), Grey(), batch=2)
    assert found.classes == ("dark", "light")
    batches = [*found.batches()]
    assert [images.shape for images, _ in batches] == [(2, 1, 32, 32), (1, 1, 32, 32)]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 1]
    levels = torch.cat([images for images, _ in batches]).mean((1, 2, 3))
    torch.testing.assert_close(levels, torch.tensor([0.0, 0.2, 1.0]))
    # A second time as well.
    assert len([*found.batches()]) == 2


def test_the_middle_of_an_image_is_shown(tmp_path):
    picture = Image.new("L", (64, 32), 0)
    picture.paste(255, (16, 0, 48, 32))
    (tmp_path / "one").mkdir()
    picture.save(tmp_path / "one" / "half.png")
    ((images, _),) = labelled(tmp_path, Grey()).batches()
    assert images[0, 0, 16, 16] == 1 and images.mean() > 0.95


def test_tensors_loaders_and_digits():
    images, labels = torch.rand(5, 1, 32, 32), torch.arange(5) % 2
    for data in ((images, labels), [(images[:3], labels[:3]), (images[3:], labels[3:])]):
        found = [*labelled(data, Grey(), batch=3).batches()]
        assert torch.equal(torch.cat([one for one, _ in found]), images) and len(found) == 2
    digits = labelled("sample:digits", Grey())
    assert len(digits.classes) == 10 and sum(len(labels) for _, labels in digits.batches()) == 500


def no_image(path):
    (path / "train").mkdir()
    return path


def no_picture(path):
    folder(path, dark=[0])
    (path / "dark" / "text.png").write_text("no image")
    return path


REFUSED = {
    "no folder": (lambda path: path / "nowhere", "there is no folder"),
    "empty": (lambda path: path, "has no image in it: a folder for each class"),
    "empty classes": (no_image, "has no image in it"),
    "no picture": (no_picture, "text.png is no image that can be read"),
    "labels": (lambda path: (torch.rand(3, 1, 32, 32), torch.zeros(2)), "there are 3 images and 2 labels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_where_there_is_nothing_to_see(case, tmp_path):
    make, told = REFUSED[case]
    with pytest.raises(BadInput, match=told):
        [*labelled(make(tmp_path), Grey()).batches()]
