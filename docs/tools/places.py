"""The drawings of docs/places.md and of the page of each place: `python -m docs.tools.places`.

docs/NAME.svg has all places of a network, docs/drawings/PLACE-NAME.svg one of them.
"""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

import surgeon
from tests.shared.detector import Detector

DOCS = Path(__file__).parents[1]
DRAWINGS = DOCS / "drawings"
# Networks that are drawn whole, and at each of these places.
NETWORKS = ("resnet18", "mobilenet_v2", "swin_t", "yolo_like")
PLACES = ("residual", "bottleneck", "final", "input")
# Networks with gates of their own.
GATED = ("efficientnet_b0", "mobilenet_v3_small")


class Heads(nn.Module):
    """Boxes and scores for each pixel of three maps."""

    def __init__(self, classes: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(count, 4 + classes, 1) for count in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat([head(x).flatten(2) for head, x in zip(self.heads, maps)], 2)


def yolo_like() -> nn.Module:
    """A detector laid out as YOLOv8 is, of a quarter of its width."""
    model = Detector(80, width=16)
    model.model[-1] = Heads(80, (64, 128, 256))
    return model


def built(name: str) -> nn.Module:
    """One of the networks, without weights."""
    with torch.device("meta"):
        return yolo_like() if name == "yolo_like" else torchvision.models.get_model(name, weights=None)


def drawing(name: str, *places: str) -> str:
    """A network with attention at some of its places, as SVG."""
    model = built(name)
    return surgeon.pages.svg(model, surgeon.plan(model, "se", where=list(places)))


def drawings() -> dict[Path, str]:
    """Each file with what is to be in it."""
    whole = {DOCS / f"{name}.svg": drawing(name, *PLACES) for name in NETWORKS}
    one = {_of(place, name): drawing(name, place) for place in PLACES for name in NETWORKS}
    return whole | one | {_of("gate", name): drawing(name, "gate") for name in GATED}


def _of(place: str, name: str) -> Path:
    return DRAWINGS / f"{place}-{name}.svg"


if __name__ == "__main__":
    DRAWINGS.mkdir(exist_ok=True)
    for file, text in drawings().items():
        file.write_text(text, encoding="utf-8")
