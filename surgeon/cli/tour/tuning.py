"""Fine-tuning of the attention alone: the network around it stays as it was, to the bit."""

import torch
from torch import nn

import surgeon
from surgeon.samples.training import RATE, epoch

EPOCHS = 2


def tune(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Train the attention of a network for the digits on their training part, all else frozen; returns the network."""
    images, labels = surgeon.samples.digits("train")
    surgeon.freeze(model.train())
    optimizer = torch.optim.AdamW(surgeon.param_groups(model, lr=RATE))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for _ in range(EPOCHS):
            epoch(model, optimizer, images, labels)
    return model.eval()
