"""Gates as tests want them: every form of every module, away from its start."""

import pytest
import torch

import surgeon
from surgeon.attention import build
from tests.shared import formulas

FOREIGN = [("timm:gc", {}), ("timm:coord", {})]
forms = pytest.mark.parametrize(
    ("name", "options"), formulas.FORMS + FOREIGN, ids=formulas.NAMES + [name for name, _ in FOREIGN]
)
# With 16, a hidden layer has one unit, and where that one is dead a whole branch is a constant.
CHANNELS = 64


def randomized(gate: torch.nn.Module) -> torch.nn.Module:
    """`gate` in float64 with every weight and statistic away from its start."""
    with torch.no_grad():
        for key, tensor in gate.double().state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in key else torch.randn_like(tensor) * 0.5)
    return gate


def form(name: str, options: dict, dims: int = 2) -> torch.nn.Module:
    """A gate for CHANNELS channels in float32, the same at each call."""
    torch.manual_seed(0)
    return randomized(build(name, CHANNELS, dims=dims, **options)).float().eval()


def stir(model):
    """Give every gate something to do."""
    with torch.no_grad():
        for name, weight in surgeon.attention_parameters(model).items():
            # A gamma, or what is in front of steep scores.
            if not weight.any():
                weight.fill_(0.3 if name.endswith("gamma") else 0.02)
    return model
