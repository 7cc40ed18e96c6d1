"""Attention maps as a folder: a PNG for each map, the numbers as CSV, and one page for all of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from surgeon.files.atomic import replacing
from surgeon.pages.needs import needed
from surgeon.pages.render import render
from surgeon.version import VERSION

if TYPE_CHECKING:
    from surgeon.pages.seen import Seen

# Even in steps of brightness, and told apart by the colour-blind.
COLOURS = "viridis"
# Smaller images are enlarged to this many pixels; how much of a picture is the map, and how much the image.
SIDE, MAP = 224, 0.6
# So many frames of a clip are drawn, with so many pixels between them.
FRAMES, GAP = 8, 6
# What was scored at one value is drawn in the middle of the colours.
FLAT = 1e-6


@dataclass(frozen=True)
class Picture:
    """A map of one image, or of one clip.

    file: its PNG, from the folder. name: of its gate or network. told: its range, or how sure the network is. kind:
    what it shows.
    """

    file: str
    name: str
    told: str
    kind: str


def write(seen: Seen, folder: str | PathLike[str], *, force: bool = False) -> None:
    """All of `seen` in a new folder, whole or not at all."""
    needed("matplotlib")
    with replacing(folder, force=force) as fresh:
        fresh.mkdir()
        pages = [(name, [*_of_image(seen, number, fresh)]) for number, name in enumerate(seen.names)]
        _summary(seen, fresh / "summary.csv")
        is_clip = seen.pixels.dim() == 5
        text = render(__package__, "album.html", seen=seen, images=pages, is_clip=is_clip, version=VERSION)
        (fresh / "index.html").write_text(text, encoding="utf-8")


def _of_image(seen: Seen, number: int, folder: Path) -> Iterator[Picture]:
    """Write the maps of one image, each as PNG and as CSV."""
    name, pixels = seen.names[number], seen.pixels[number]
    room = folder / name
    room.mkdir()
    _save(room / "image.png", side_by_side([_enlarged(frame).expand(3, -1, -1) for frame in frames(pixels)]))
    yield Picture(f"{name}/image.png", "", "", "image")
    for what, cams in seen.cams.items():
        file = "grad-cam-" + re.sub(r"[^\w.-]+", "_", what.removeprefix("attention "))
        drawn = _drawn(cams[number], pixels, room / file, what, "cam", torch.tensor([0.0, 1.0]))
        told = f"class {seen.classes[number]} at {seen.layers[what]}, {sure(float(seen.sure[what][number]))}"
        own = f"{seen.network}, {what}" if seen.network and what not in seen.beside else what
        yield replace(drawn, name=f"Grad-CAM, {own}", told=told)
    for path, scores in seen.spatial.items():
        yield _drawn(scores[number], pixels, room / f"{path}.spatial", path, "spatial", scores[number])
    for path, scores in seen.channel.items():
        yield _bars(scores[number], room / f"{path}.channel", path)


def sure(share: float) -> str:
    """The share that a network gives a class, as CBAM's paper writes it."""
    return f"P\u00a0=\u00a0{share:.2f}" if share >= 0.005 else "P\u00a0<\u00a00.01"


def _drawn(scores: Tensor, pixels: Tensor, file: Path, name: str, kind: str, span: Tensor) -> Picture:
    """A map over its image. span: what the ends of the colours stand for."""
    _matrix(file.with_name(f"{file.name}.csv"), scores)
    _save(file.with_name(f"{file.name}.png"), overlay(scores, pixels, span))
    return Picture(f"{file.parent.name}/{file.name}.png", name, ranged(scores), kind)


def overlay(scores: Tensor, pixels: Tensor, span: Tensor) -> Tensor:
    """Scores of H x W as colours over an image of C x H x W: 3 x H x W from 0 to 1; those of a clip side by side."""
    if scores.dim() == 3:
        shown = frames(pixels)
        # The map of a clip may have fewer frames than the clip.
        own = [scores[number * len(scores) // pixels.shape[1]] for number in _chosen(pixels.shape[1])]
        return side_by_side([overlay(one, frame, span) for one, frame in zip(own, shown)])
    grey = _enlarged(pixels).mean(0)
    large = F.interpolate(scores[None, None], grey.shape, mode="bilinear", align_corners=False)[0, 0]
    least, most = float(span.min()), float(span.max())
    level = (large - least) / (most - least) if most - least > FLAT else torch.full_like(large, 0.5)
    colours: Any = needed("matplotlib").colormaps[COLOURS]
    over = torch.from_numpy(colours(level.clamp(0, 1).numpy())[..., :3]).permute(2, 0, 1).float()
    return MAP * over + (1 - MAP) * grey


def frames(pixels: Tensor) -> list[Tensor]:
    """What is shown of an image, itself; of a clip C x T x H x W some frames, evenly over its length."""
    return [pixels] if pixels.dim() == 3 else [pixels[:, number] for number in _chosen(pixels.shape[1])]


def _chosen(count: int) -> list[int]:
    return [number * count // min(count, FRAMES) for number in range(min(count, FRAMES))]


def side_by_side(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures of 3 x H x W in one row, with white between them."""
    gap = pictures[0].new_ones(3, pictures[0].shape[1], GAP)
    parts = [part for picture in pictures for part in (picture, gap)]
    return torch.cat(parts[:-1], 2)


def _enlarged(pixels: Tensor) -> Tensor:
    """An image in whole multiples of its size, at least as large as a page can show."""
    times = max(1, -(-SIDE // min(pixels.shape[-2:])))
    return pixels.repeat_interleave(times, 1).repeat_interleave(times, 2)


def _save(file: Path, colours: Tensor) -> None:
    image: Any = needed("matplotlib.image")
    image.imsave(file, colours.clamp(0, 1).permute(1, 2, 0).contiguous().numpy())


def _matrix(file: Path, scores: Tensor) -> None:
    """A line for each row of the map; the frames of a clip one below the other, with an empty line between two."""
    frames = scores.tolist() if scores.dim() == 3 else [scores.tolist()]
    # Nine digits give every number of single precision back as it was.
    parts = ("\n".join(",".join(f"{score:.9g}" for score in row) for row in frame) for frame in frames)
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _bars(scores: Tensor, file: Path, name: str) -> Picture:
    """The factor of each channel as a bar from 1, at which a channel passes as it is."""
    rows = "".join(f"{channel},{score:.9g}\n" for channel, score in enumerate(scores.tolist()))
    file.with_name(f"{file.name}.csv").write_text(f"channel,score\n{rows}", encoding="utf-8")
    figure: Any = needed("matplotlib.figure").Figure((4.48, 1.12), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
    reach = max(FLAT, float((scores - 1).abs().max()))
    axes.set(xlim=(0, len(scores)), ylim=(1 - 1.05 * reach, 1 + 1.05 * reach))
    # Grey and orange stand out from white and from black.
    axes.stairs(scores.tolist(), baseline=1, fill=True, color="#d9713c")
    axes.axhline(1, color="#80868e", linewidth=1)
    figure.savefig(file.with_name(f"{file.name}.png"), transparent=True)
    return Picture(f"{file.parent.name}/{file.name}.png", name, ranged(scores), "channel")


def ranged(scores: Tensor) -> str:
    """The least and the largest of some scores, in a few figures; one number where they are alike."""
    least, most = float(scores.min()), float(scores.max())
    return f"{least:.3g} everywhere" if most - least < FLAT else f"{least:.3g} to {most:.3g}"


def _summary(seen: Seen, file: Path) -> None:
    """A row for each image and map."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["image", "site", "kind", "mean", "std", "min", "max"])
        for number, name in enumerate(seen.names):
            for kind, maps in (("spatial", seen.spatial), ("channel", seen.channel), ("grad-cam", seen.cams)):
                for path, scores in maps.items():
                    one = scores[number]
                    spread = one.std(correction=0)
                    table.writerow(
                        [name, path, kind, *(f"{float(n):.9g}" for n in (one.mean(), spread, one.min(), one.max()))]
                    )
