"""The page: whole in one file, with the plan in it as it is; and how plans and reports show themselves in notebooks."""

import json
import re
from html.parser import HTMLParser

import pytest

import surgeon
from surgeon.errors import BadModel, UnusedSite
from surgeon.pages.render import compact, share
from surgeon.sites import Plan, Site
from tests.shared import toy
from tests.shared.gates import stir

VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """The texts, and the attributes that could lead elsewhere, of a page whose tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1][1]] = self.texts.get(self.open[-1][1], "") + data


@pytest.fixture
def model():
    return toy.Net()


@pytest.fixture
def plan(model):
    return surgeon.plan(model, "cbam", where=["residual", "final"], example_inputs=toy.image())


def page_of(model, plan=None, **options):
    return surgeon.pages.html(model, plan, example_inputs=toy.image(), **options)


def test_the_page_is_whole_and_leads_nowhere(model, plan):
    text = page_of(model, plan, title="<my> net")
    page = Reader(text)
    assert page.open == [] or [tag for tag, _ in page.open] == ["html"]
    assert page.links == ["data:,"] and "http" not in re.sub(r"http-equiv|http://www.w3.org", "", text)
    assert "&lt;my&gt; net" in text and "<my>" not in text


def test_the_plan_is_in_it(model, plan):
    page = Reader(page_of(model, plan))
    assert Plan.from_dict(json.loads(page.texts["plan"])) == plan
    assert page.texts["sites"] == "2" and page.texts["parameters"] == f"+{sum(site.parameters for site in plan):,}"


def test_how_it_starts_is_said(model):
    image = toy.image()
    texts = [page_of(model, surgeon.plan(model, "se", init=init, example_inputs=image)) for init in ("eager", "paper")]
    assert "bit for bit" in texts[0] and "bit for bit" not in texts[1] and "has to be trained" in texts[1]


def test_what_is_there_is_shown_without_anything_to_tick(model):
    before = page_of(surgeon.inject(model, "se", example_inputs=toy.image()))
    stir(model)
    after = page_of(model)
    assert 'type="checkbox"' not in after.partition("</style>")[2] and "Do it" not in after and "SE" in after
    assert "has opened by 0 %" in before and re.search(r"has opened by [1-9]", after)
    assert surgeon.attention_modules(model)


def test_a_network_without_attention_and_without_a_plan(model):
    with pytest.raises(BadModel, match="no attention here: give a plan"):
        page_of(model)


def test_sites_that_can_not_learn_say_why():
    model = toy.Tokens()
    with pytest.warns(UnusedSite):
        plan = surgeon.plan(model, "se", example_inputs=toy.image())
    assert 'class="unread"' in page_of(model, plan) and "only a class token is read" in page_of(model, plan)


def test_the_model_is_left_alone(model, plan):
    before = {name: type(module) for name, module in model.named_modules()}
    page_of(model, plan)
    surgeon.pages.svg(model, plan, example_inputs=toy.image())
    assert {name: type(module) for name, module in model.named_modules()} == before


def test_the_drawing_alone(model, plan):
    svg = surgeon.pages.svg(model, plan, example_inputs=toy.image())
    assert svg.startswith("<svg xmlns") and svg.count('data-n="') == 2 and "{%" not in svg
    assert "prefers-color-scheme: dark" in svg and "block" in svg and "8 × 8 × 8" in svg


def test_a_plan_in_a_notebook(plan):
    text = plan._repr_html_()
    assert text.count("<tr") == 1 + len(plan) and "cbam at 2 sites" in text and "<td>" in text
    site = Site("<b>", "x", "residual", 8, (4, 4), read=False)
    unread = Plan("se", (site,))._repr_html_()
    assert "&lt;b&gt;" in unread and "opacity" in unread and "class token" in unread and "opacity" not in text


def test_a_report_in_a_notebook(model):
    assert surgeon.report(model)._repr_html_() == f"<p>{surgeon.report(model)}"
    surgeon.inject(model, "se", example_inputs=toy.image())
    text = surgeon.report(model)._repr_html_()
    assert "0.00%" in text and "parameters" in text and "all gates are closed" in text


def test_numbers_near_a_unit():
    assert [compact(number) for number in (999, 999_499, 999_500, 9_995, 99_950)] == [
        "999",
        "999 k",
        "1.00 M",
        "10.0 k",
        "100 k",
    ]
    assert share(300, 100) == "300 %" and share(1, 0) == "?"
