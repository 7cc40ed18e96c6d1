"""docs/attention.md says what the code says."""

from pathlib import Path

import pytest

from docs.tools.attention import FORMS, Docstring, page, parsed
from surgeon.attention import TABLE, build, options_of

PAGE = Path(__file__).parents[2] / "docs" / "attention.md"


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "run: python -m docs.tools.attention > docs/attention.md"


def test_every_module_and_option_has_its_line():
    text = page()
    for name, factory in TABLE.items():
        assert f"\n## {name}\n" in text
        documented = parsed(factory.__doc__.replace("\n    ", "\n")).arguments
        assert list(documented) == list(options_of(name))


@pytest.mark.parametrize(("form", "name", "options"), FORMS)
def test_known_forms_can_be_asked_for(form, name, options):
    assert build(name, 64, **options).made["options"] == options and f"| {form} |" in page()


def test_a_docstring_is_taken_apart():
    text = "Adds.\n\nArgs:\n    n: how many\n        of them.\n\nSource: a book."
    assert parsed(text) == Docstring("Adds.", {"n": "how many of them."}, {"Source": "a book."})
