"""The one model that surgeon registers with timm: a network in a folder that surgeon wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surgeon.errors import BadFile

if TYPE_CHECKING:
    from torch import nn


def surgeon_network(
    pretrained: bool = False, pretrained_cfg: Any = None, recipe: dict[str, Any] | None = None, **arguments: Any
) -> nn.Module:
    """The network of a folder that surgeon wrote, for `timm.create_model("local-dir:FOLDER")`."""
    if recipe is None:
        raise BadFile("surgeon_network is made from a folder: timm.create_model('local-dir:FOLDER', pretrained=True).")
    # timm registers this as soon as it is imported; what opens the folder is heavy.
    from surgeon.files.folder import open_network

    return open_network(recipe, pretrained, pretrained_cfg, arguments)
