"""Weights that the libraries download: where they lie once they are there, and what to say where that fails."""

from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.constants import HF_HUB_CACHE

from surgeon.errors import BadOption
from surgeon.networks.blueprint import Base

# Seconds; a proxy may take some.
PATIENCE = 10


def home(base: Base) -> Path:
    """Where a library looks for its weights of `base` before it downloads them."""
    if base.library == "torchvision":
        return _of_torch(str(torchvision.models.get_model_weights(base.name)["DEFAULT"].url))
    repository = _repository(base)
    if repository:
        return Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return _of_torch(str(getattr(published(base.name), "url", "")))


def _of_torch(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _repository(base: Base) -> str:
    """Where on the hub timm's weights of `base` lie; empty where they lie elsewhere."""
    config = published(base.name)
    if config is None or not config.hf_hub_id:
        return ""
    owner, _, name = config.hf_hub_id.partition("/")
    return f"{owner}/{name or '.'.join(filter(None, (config.architecture or base.name, config.tag)))}"


def published(name: str) -> Any:
    """timm's record of its weights for a network; None where it has none, of which some releases make an error."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        return None


def reach(base: Base) -> None:
    """Ask once for timm's weights of `base`, where they are not here: timm asks for a minute, without a word.

    Raises:
        OSError: there is no connection.
    """
    repository = _repository(base)
    if not repository or home(base).exists():
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=PATIENCE)
    except Exception as error:  # of whatever client the hub's package uses
        # Its own errors are answers: timm will get them as well, and knows other files.
        if type(error).__module__.startswith("huggingface_hub"):
            return
        if isinstance(error, OSError):
            raise
        raise OSError(str(error) or type(error).__name__) from error


def failed(base: Base, error: OSError) -> BadOption:
    """What to say of weights that could not be had."""
    reason = str(getattr(error, "reason", None) or error).strip().partition("\n")[0].rstrip(".")
    return BadOption(
        f"{base}: its pretrained weights are not in {home(base)}, and could not be downloaded: {reason}. "
        "Give a file with --weights, or take sample:digits, which needs no download."
    )
