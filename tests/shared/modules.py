"""Attention modules of a user's own, each for maps of other numbers of axes."""

import torch


class Scaled(torch.nn.Module):
    """A user's gate for images, and for nothing else: its weights have a height and a width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class Squeezed(torch.nn.Module):
    """A user's gate for video: its normalisation refuses images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm3d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.norm(x).mean((2, 3, 4), keepdim=True).sigmoid()


def anywhere(channels: int) -> torch.nn.Module:
    """A gate that asks for no particular number of axes."""
    return torch.nn.Sequential(torch.nn.GroupNorm(4, channels), torch.nn.Sigmoid())
