"""The trained networks on board, by name."""

from torch import nn

from surgeon import networks


def load(name: str = "digits") -> nn.Module:
    """A trained network, in evaluation mode: `digits`, timm's test_resnet for handwritten digits.

    Raises:
        UnknownName: there is no such network on board.

    >>> images, labels = surgeon.samples.digits("test")
    >>> surgeon.samples.load("digits")(images[:4]).argmax(1), labels[:4]
    (tensor([0, 1, 2, 3]), tensor([0, 1, 2, 3]))
    """
    return networks.build(f"sample:{name}", pretrained=True)
