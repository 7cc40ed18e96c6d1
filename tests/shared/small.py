"""Small networks and files that several tests of saving share."""

import torch

import surgeon
from surgeon.networks import library
from tests.shared.gates import stir

# A few hundred thousand weights, made by timm for tests, and convolutional.
TINY = "timm:test_resnet"


def tiny(attention="cbam", where="residual", *, classes=4, seed=0, **options):
    """A tiny network with attention that has been moved away from the identity."""
    torch.manual_seed(seed)
    model = library.build(TINY, num_classes=classes)
    for module in model.modules():
        # timm starts the last norm of a residual branch at 0: nothing in the branch would matter.
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
    if attention:
        surgeon.inject(model, attention, where=where, **options)
        stir(model)
    return model


@torch.no_grad()
def output(model, side=64, seed=1):
    """What `model` says to one image of noise, in evaluation mode."""
    image = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return model.eval()(image)
