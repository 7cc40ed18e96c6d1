"""The pictures of docs/pages.md: `python -m docs.tools.pages` draws plan.svg, and takes page.png and maps.png.

The .png files need chromium (apt-get install chromium) and the extra `plots`.
"""

import subprocess
import tempfile
from pathlib import Path

import torch

import surgeon
from docs.tools.places import built
from surgeon.samples.training import RATE, epoch

DOCS = Path(__file__).parents[1]
DRAWING, PAGE, MAPS = DOCS / "plan.svg", DOCS / "page.png", DOCS / "maps.png"
CHROMIUM = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def drawing() -> str:
    """A ResNet-50 with CBAM in its branches and at the ends of its stages, as SVG."""
    model = built("resnet50")
    return surgeon.pages.svg(model, surgeon.plan(model, "cbam", where=["residual", "bottleneck"]))


def page() -> str:
    """The page of the same network, with a stage and a block open."""
    model = built("resnet50")
    text = surgeon.pages.html(model, surgeon.plan(model, "cbam"), title="resnet50")
    before, *stages = text.split('<details class="stage">')
    blocks = stages[1].split("<details><summary")
    stages[1] = "<details open><summary".join([blocks[0] + "<details><summary" + blocks[1], *blocks[2:3]])
    stages[1] += "".join(f"<details><summary{block}" for block in blocks[3:])
    return before + "".join(f'<details class="stage"{" open" if n == 1 else ""}>{s}' for n, s in enumerate(stages))


def maps(folder: Path) -> None:
    """Maps of the network on board with CBAM on two digits, beside the same with SE, and without either."""
    se, cbam = trained("se"), trained("cbam")
    images = surgeon.samples.digits("test")[0][3:5]
    beside = {"plain": surgeon.samples.load(), "SE": se}
    surgeon.maps(cbam, images, beside=beside, name="CBAM").save(folder)


def trained(attention: str) -> torch.nn.Module:
    """The network on board, with attention trained for ten epochs."""
    torch.manual_seed(0)
    model = surgeon.inject(surgeon.samples.load(), attention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    images, labels = surgeon.samples.digits("train")
    for _ in range(10):
        epoch(model.train(), optimizer, images, labels)
    return model


def shot(path: Path, target: Path, height: int) -> None:
    """A picture of a page, in few colours, as such a page has no more."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as room:
        raw = Path(room) / "raw.png"
        size = (f"--window-size=1280,{height}", f"--user-data-dir={room}/profile", f"--screenshot={raw}")
        subprocess.run([*CHROMIUM, *size, path.resolve().as_uri()], check=True, capture_output=True)
        with Image.open(raw) as picture:
            picture.convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page(), encoding="utf-8")
        shot(Path(folder) / "page.html", PAGE, 1700)
        maps(Path(folder) / "maps")
        shot(Path(folder) / "maps" / "index.html", MAPS, 1250)
