"""Pages in a browser: clicks, keys, the search, ticking off; nothing overlaps, nothing is asked for, all can be read."""

import json

import pytest
import torch
import torchvision

import surgeon
from tests.shared.browser import CONTRASTS, OVERLAPS, chromium, requested, show

pytestmark = pytest.mark.browser


# The parts of a long name, and over how many lines each goes.
PARTS = """
const range = document.createRange();
return [...document.querySelector("h1").childNodes].filter((node) => node.nodeType === 3 && node.data.trim())
  .map((node) => { range.selectNode(node); return [node.data, range.getClientRects().length]; });
"""


@pytest.fixture(scope="module")
def driver():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def network():
    return torchvision.models.resnet18().eval()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, driver, network):
    """A page to choose sites on, one with sites that can't learn, and those of a detector, with figures."""
    folder = tmp_path_factory.mktemp("pages")
    plan = surgeon.plan(network, "cbam", where=["residual", "final"])
    (folder / "resnet18.html").write_text(surgeon.pages.html(network, plan), encoding="utf-8")
    vit = torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64)
    plan = surgeon.plan(vit, "se", where="residual")
    assert 0 < sum(not site.read for site in plan) < len(plan)
    (folder / "vit.html").write_text(surgeon.pages.html(vit, plan), encoding="utf-8")
    detector = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    plan = surgeon.plan(detector.eval(), "cbam")
    text = surgeon.pages.html(detector, plan, title="fasterrcnn_mobilenet_v3_large_320_fpn")
    (folder / "detector.html").write_text(text, encoding="utf-8")
    small = surgeon.inject(surgeon.samples.load(), "cbam")
    (folder / "figures.html").write_text(surgeon.pages.html(small, measure=True), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def albums(tmp_path_factory, driver):
    """The folders that maps leave, of images and of a clip."""
    pytest.importorskip("matplotlib", reason='pip install "attention-surgeon[plots]"')
    folder = tmp_path_factory.mktemp("maps")
    images, _ = surgeon.samples.digits("test")
    surgeon.maps(surgeon.inject(surgeon.samples.load(), "cbam"), images[:2], cam=False).save(folder / "images")
    clip = torch.rand(1, 3, 8, 32, 32)
    film = torchvision.models.video.mc3_18(num_classes=4).eval()
    film = surgeon.inject(film, "cbam", where=["bottleneck", "final"], example_inputs=clip)
    surgeon.maps(film, clip, cam=False).save(folder / "clip")
    return folder


@pytest.fixture
def page(driver, pages):
    show(driver, pages / "resnet18.html")
    return driver


def css(driver, selector):
    return driver.find_elements("css selector", selector)


def opened(driver):
    return [stage.find_element("css selector", ".name b").text for stage in css(driver, "details.stage[open]")]


def plan_of(driver):
    return json.loads(driver.execute_script("return document.getElementById('plan').value"))


def test_a_stage_opens_by_a_click(page):
    assert opened(page) == []
    css(page, ".stage > summary")[1].click()
    assert opened(page) == ["layer1"]
    block = css(page, ".unit details")[1]
    block.find_element("css selector", "summary").click()
    assert block.get_attribute("open") and "downsample" not in block.text and "cbam" in block.text


def test_a_stage_opens_by_the_keyboard(page):
    summary = css(page, ".stage > summary")[2]
    page.execute_script("arguments[0].focus()", summary)
    summary.send_keys("\ue007")
    assert opened(page) == ["layer2"]
    summary.send_keys(" ")
    assert opened(page) == []


def test_the_search_opens_what_has_the_word_and_forgets_it(page):
    css(page, ".stage > summary")[1].click()
    css(page, "body")[0].send_keys("/")
    field = page.switch_to.active_element
    field.send_keys("layer3.1")
    assert opened(page) == ["layer3"]
    assert [unit.text.split("\n")[0] for unit in css(page, ".unit") if unit.is_displayed()] == ["layer3.1"]
    field.send_keys("\ue00c")
    assert opened(page) == ["layer1"] and field.get_attribute("value") == ""


@pytest.mark.parametrize("words", ["BASICBLOCK", "512 x 7 x 7", "512×7×7", "layer4"])
def test_classes_and_shapes_are_found(page, words):
    css(page, "#find")[0].send_keys(words)
    assert "layer4" in opened(page)


def test_what_is_not_there_is_said(page):
    css(page, "#find")[0].send_keys("layer9")
    assert opened(page) == [] and css(page, "#nothing")[0].is_displayed()


def test_a_site_that_is_ticked_off_leaves_the_plan(page, network, tmp_path):
    whole = plan_of(page)
    css(page, ".stage > summary")[4].click()
    box = css(page, ".stage[open] .sites input")[0]
    box.click()
    assert opened(page) == ["layer4"]
    chosen = plan_of(page)
    left = [site for site in whole["sites"] if (site["module"], site["after"]) != ("layer4.0", "bn2")]
    assert chosen == whole | {"sites": left} and len(left) == len(whole["sites"]) - 1
    assert css(page, "#sites")[0].text == "8" and css(page, "#told")[0].text == "8 of 9 sites"
    assert css(page, "#parameters")[0].text == f"+{sum(site['parameters'] for site in left):,}"
    assert len(css(page, ".drawing .site.off")) == 1
    model = surgeon.apply(torchvision.models.resnet18(), surgeon.Plan.from_dict(chosen))
    assert {f"{s['module']}.cbam" for s in left} == {*surgeon.attention_modules(model)}


def test_a_plan_that_a_browser_remembers_is_not_taken_for_the_whole_one(page):
    script = page.execute_script("return document.querySelector('script').textContent")
    page.execute_script("document.getElementById('plan').value = '{}'; (0, eval)('{' + arguments[0] + '}')", script)
    assert len(plan_of(page)["sites"]) == 9


def test_all_sites_of_a_stage_at_once(page):
    css(page, ".stage > summary")[4].click()
    every = css(page, ".stage[open] [data-every]")[0]
    every.click()
    assert {site["module"] for site in plan_of(page)["sites"]} == {f"layer{n}.{m}" for n in (1, 2, 3) for m in (0, 1)}
    css(page, ".stage[open] .sites input")[0].click()
    assert page.execute_script("return arguments[0].indeterminate", every)


def test_nothing_left_can_not_be_saved(page):
    css(page, "#unfold")[0].click()
    for every in css(page, "[data-every]"):
        every.click()
    assert plan_of(page)["sites"] == [] and not css(page, "#save")[0].is_enabled()


@pytest.mark.parametrize("name", ["resnet18", "vit", "detector", "figures"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_all_can_be_read(driver, pages, name, dark, width):
    show(driver, pages / f"{name}.html", width=width, dark=dark)
    driver.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    driver.execute_script("document.querySelector('.sites input')?.click()")
    pairs = driver.execute_script(CONTRASTS)
    assert len(pairs) > 100 and [pair for pair in pairs if pair[0] < 4.5] == []
    assert driver.execute_script(OVERLAPS) == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    if name == "detector":
        parts = driver.execute_script(PARTS)
        assert len(parts) == 6 and {lines for _, lines in parts} == {1}
    if name == "figures":
        assert driver.find_element("tag name", "main").text.count("of a run;") == 4
    if name == "vit":
        assert "Can’t learn" in driver.find_element("tag name", "main").text


def test_nothing_is_asked_for_and_nothing_complains(driver, pages):
    show(driver, pages / "resnet18.html")
    css(driver, ".stage > summary")[1].click()
    css(driver, "#save")[0].click()
    asked = [address for address in requested(driver) if not address.startswith(("file:", "data:", "blob:"))]
    assert asked == [] and driver.get_log("browser") == []


@pytest.mark.parametrize(("kind", "texts"), [("images", 30), ("clip", 20)])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_maps_can_be_read(driver, albums, kind, texts, dark, width):
    show(driver, albums / kind / "index.html", width=width, dark=dark)
    pairs = driver.execute_script(CONTRASTS)
    assert len(pairs) > texts and [pair for pair in pairs if pair[0] < 4.5] == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    # Pictures below the fold wait until somebody comes near.
    loaded = "(one.loading = 'eager', one.decode().then(() => one.naturalWidth))"
    shown = driver.execute_script(f"return Promise.all([...document.images].slice(0, 3).map((one) => {loaded}))")
    assert all(shown) and driver.get_log("browser") == []
    assert [address for address in requested(driver) if not address.startswith(("file:", "data:"))] == []


def test_a_bad_page_would_be_seen(driver, tmp_path):
    text = "<body style='background: #fff'><script>nobody()</script><img src='http://127.0.0.1:9/x.png'><p style='color: #999'>pale"
    (tmp_path / "bad.html").write_text(text)
    show(driver, tmp_path / "bad.html", width=400)
    assert driver.get_log("browser") and any(address.startswith("http:") for address in requested(driver))
    assert driver.execute_script(CONTRASTS)[0][0] < 4.5
    row = "<div class=row style='position: relative'><b style='position: absolute'>one</b><b style='position: absolute'>two</b>"
    (tmp_path / "bad.html").write_text(row)
    show(driver, tmp_path / "bad.html")
    assert driver.execute_script(OVERLAPS) == [["one", "two"]]


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "maxvit_t"])
def test_texts_of_a_drawing_stay_beside_it(driver, tmp_path, name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    places = ["residual", "bottleneck", "final", "input"]
    (tmp_path / "a.svg").write_text(surgeon.pages.svg(model, surgeon.plan(model, "se", where=places)), encoding="utf-8")
    show(driver, tmp_path / "a.svg")
    left = "return Math.max(...[...document.querySelectorAll('text:not(.end)')].map((t) => t.getBoundingClientRect().right))"
    right = "return Math.min(...[...document.querySelectorAll('text.end')].map((t) => t.getBoundingClientRect().left))"
    drawn = "return [...document.querySelectorAll('rect.box')].map((b) => b.getBoundingClientRect())"
    boxes = driver.execute_script(drawn)
    assert driver.execute_script(left) < min(box["left"] for box in boxes)
    assert driver.execute_script(right) > max(box["right"] for box in boxes)
