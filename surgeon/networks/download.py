"""Weights that the libraries download: where they lie once they are there, and what to say where that fails."""

from pathlib import Path

import timm
import torch
import torchvision
from huggingface_hub.constants import HF_HUB_CACHE

from surgeon.errors import BadOption
from surgeon.networks.blueprint import Base


def home(base: Base) -> Path:
    """Where a library looks for its weights of `base` before it downloads them."""
    if base.library == "torchvision":
        return _of_torch(str(torchvision.models.get_model_weights(base.name)["DEFAULT"].url))
    config = timm.get_pretrained_cfg(base.name)
    if config is not None and config.hf_hub_id:
        owner, _, name = config.hf_hub_id.partition("/")
        name = name or ".".join(filter(None, (config.architecture or base.name, config.tag)))
        return Path(HF_HUB_CACHE) / f"models--{owner}--{name}"
    return _of_torch(str(config.url) if config is not None else "")


def _of_torch(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def failed(base: Base, error: OSError) -> BadOption:
    """What to say of weights that could not be had."""
    reason = str(getattr(error, "reason", None) or error).strip().partition("\n")[0].rstrip(".")
    return BadOption(
        f"{base}: its pretrained weights are not in {home(base)}, and could not be downloaded: {reason}. "
        "Give a file with --weights, or take sample:digits, which needs no download."
    )
