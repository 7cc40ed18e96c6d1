"""Networks that have been operated on, for tests of what still works afterwards."""

import timm
import torch
import torchvision
from torchvision.models.swin_transformer import SwinTransformer

import surgeon


def swin():
    """torchvision's Swin with two small stages."""
    return SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.1, num_classes=10)


# Convolutional networks and transformers, with maps of NCHW and NHWC and tokens; all run in milliseconds.
BUILDERS = {
    "resnet": (lambda: torchvision.models.resnet18(num_classes=10), 64),
    "vit": (lambda: timm.create_model("test_vit"), 160),
    "convnext": (lambda: timm.create_model("test_convnext"), 64),
    "swin": (swin, 64),
}


def network(name):
    """The network as its library builds it, in eval mode; the same weights at each call."""
    torch.manual_seed(0)
    return BUILDERS[name][0]().eval()


def operated(name, attention="cbam", where="residual", **options):
    """`network(name)` with attention that acts: every gamma is a half."""
    model = surgeon.inject(network(name), attention, where=where, **{"init": "identity"} | options)
    with torch.no_grad():
        for key, weight in surgeon.attention_parameters(model).items():
            if key.endswith("gamma"):
                weight.fill_(0.5)
    return model


def image(name, batch=2, scale=1):
    """A picture of the size that the network takes, the same at each call."""
    side = int(BUILDERS[name][1] * scale)
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
