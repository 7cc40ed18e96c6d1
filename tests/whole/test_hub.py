"""Networks of libraries that save by the Hugging Face Hub's mixin: their folders keep the attention."""

import pytest
import torch
from torch import nn

import surgeon

pytestmark = [pytest.mark.clients]
smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
hub = pytest.importorskip("huggingface_hub", reason="huggingface-hub is not installed")

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


class Mine(nn.Module, hub.PyTorchModelHubMixin):
    """A user's own network; its loading passes by, in silence, what it does not know."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, width, 3, padding=1), nn.Linear(width, 2)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


def unet():
    return smp.Unet("resnet18", encoder_weights=None, classes=2)


@torch.no_grad()
@pytest.mark.parametrize(
    ("make", "where", "kinds"),
    [(lambda: Mine(24), "*conv", [Mine]), (unet, "bottleneck", [smp.Unet, smp.from_pretrained, None])],
    ids=["mixin", "smp"],
)
def test_a_folder_keeps_its_attention(make, where, kinds, tmp_path):
    model = surgeon.inject(make().eval(), "cbam", where=where, example_inputs=IMAGE)
    for weight in surgeon.attention_parameters(model).values():
        weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(tmp_path)
    for kind in kinds:
        again = surgeon.from_pretrained(kind, str(tmp_path)) if kind else surgeon.load(tmp_path)
        assert torch.equal(again.eval()(IMAGE), model(IMAGE))
