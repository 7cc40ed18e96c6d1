"""A page as a browser shows it: Debian's chromium, driven by selenium."""

import json
import shutil
from contextlib import contextmanager

import pytest

# The colours of a text and of what is behind it, for all that is on the screen and has text of its own.
CONTRASTS = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((n) => n / 255)
    .map((n) => (n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
return [...document.body.querySelectorAll("*")].filter((e) => own(e) && e.checkVisibility()).map((element) => {
  const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance).sort();
  return [(b + 0.05) / (a + 0.05), element.textContent.trim().slice(0, 40)];
});
"""
# Texts that lie over each other: neighbours in a row whose boxes meet.
OVERLAPS = """
const found = [];
for (const row of document.querySelectorAll("summary, .row, .sites li, .figures div, .tools, .legend li, tr, .chart")) {
  if (!row.checkVisibility()) continue;
  const parts = [...row.children].filter((e) => e.checkVisibility() && e.getBoundingClientRect().width);
  parts.forEach((one, n) => parts.slice(n + 1).forEach((other) => {
    const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
    const meets = a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    if (meets) found.push([one.textContent.slice(0, 30), other.textContent.slice(0, 30)]);
  }));
}
return found;
"""


def missing():
    """What a browser test needs and this machine lacks; empty where it has all."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return 'selenium is not installed: pip install -e ".[test,test-browser]"'
    programs = ("chromium", "chromedriver")
    lacking = [name for name in programs if shutil.which(name) is None]
    return f"there is no {lacking[0]}: apt-get install chromium chromium-driver" if lacking else ""


@contextmanager
def chromium():
    """A headless browser that keeps what it logs and asks for."""
    if reason := missing():
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver, path, *, width=1280, height=1600, dark=False):
    """Open a file at a size, light or dark; what was logged before is forgotten."""
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(path.resolve().as_uri())


def requested(driver):
    """The addresses that a page has asked for."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
