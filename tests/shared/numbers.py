"""Numbers that are hard to keep to the bit."""

import torch


def awkward(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Numbers of every size, with zeros of both signs."""
    torch.manual_seed(0)
    x = torch.randn(shape) * torch.tensor(10.0) ** torch.randint(-3, 4, shape)
    x.view(-1)[:4] = torch.tensor([0.0, -0.0, 1e4, -1e4])
    return x.to(dtype)
