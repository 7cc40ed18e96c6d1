"""The pages of compare and of rank in a browser: all can be read, wide and narrow, and nothing is asked for."""

import pytest
import torch

import surgeon
from surgeon.pages.evidence.ranking import Ranking, Worth
from tests.shared.browser import CONTRASTS, OVERLAPS, chromium, requested, show
from tests.shared.gates import stir

pytestmark = pytest.mark.browser

NARROW, WIDE = 400, 1280
# Cells of tables, and names and tracks of charts, that reach beyond the page.
OUTSIDE = """
const edge = document.documentElement.clientWidth;
return [...document.querySelectorAll("td, th, .chart > *")].filter((one) => one.checkVisibility())
  .filter((one) => one.getBoundingClientRect().right > edge || one.getBoundingClientRect().left < 0)
  .map((one) => one.textContent);
"""


@pytest.fixture(scope="module")
def driver():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of what was measured on some digits, and of a ranking with many sites of long names."""
    torch.manual_seed(0)
    images, labels = surgeon.samples.digits("test")
    model = stir(surgeon.inject(surgeon.samples.load(), "cbam"))
    compared = surgeon.compare(
        surgeon.samples.load(), model, (images[:64], labels[:64]), rounds=1, name="timm:a_network"
    )
    ranked = surgeon.rank(model, (images[:64], labels[:64]))
    paths = [f"backbone.body.layer{n}.{m}.attention.cbam" for n in range(1, 5) for m in range(6)]
    worths = tuple(Worth(path, 0.3 - 0.02 * n, 0.1, 0.01, 0.5, 0.2, 10**n, 10**n) for n, path in enumerate(paths))
    many = Ranking("torchvision:fasterrcnn_resnet50_fpn", "photographs", 5000, 0.4, 0.8, (0.5, 0.7), worths)
    folder = tmp_path_factory.mktemp("pages")
    for name, found in (("compare", compared), ("rank", ranked), ("many", many)):
        (folder / f"{name}.html").write_text(found.html(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["compare", "rank", "many"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_all_can_be_read(driver, pages, name, dark, width):
    show(driver, pages / f"{name}.html", width=width, dark=dark)
    pairs = driver.execute_script(CONTRASTS)
    assert len(pairs) > 25 and [pair for pair in pairs if pair[0] < 4.5] == []
    assert driver.execute_script(OVERLAPS) == [] and driver.execute_script(OUTSIDE) == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    tracks = "return [...document.querySelectorAll('.track')].map((one) => one.getBoundingClientRect().width)"
    assert min(driver.execute_script(tracks)) > width / 4
    assert driver.get_log("browser") == []
    assert [address for address in requested(driver) if not address.startswith(("file:", "data:"))] == []


def test_narrow_tables_say_what_each_figure_is(driver, pages):
    label = "return getComputedStyle(document.querySelector('td'), '::before').content"
    show(driver, pages / "rank.html", width=NARROW)
    assert driver.execute_script(label) == '"worth"'
    show(driver, pages / "rank.html", width=WIDE)
    assert driver.execute_script(label) == "none"


def test_a_cell_outside_would_be_seen(driver, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<table style='width: 900px'><tr><td>one<td style='text-align: right'>two</table>"
    )
    show(driver, tmp_path / "bad.html", width=NARROW)
    assert driver.execute_script(OUTSIDE)
