"""docs/architecture.md and its drawing say what the code says."""

import re
from pathlib import Path

from docs.tools.imports import FILES, ORDER
from docs.tools.rooms import TARGET, drawing

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def test_the_drawing_is_current():
    assert TARGET.read_text() == drawing(), "run: python -m docs.tools.rooms"


def test_the_page_shows_the_drawing_and_names_every_room():
    assert "(rooms.svg)" in PAGE
    assert [room for room in ORDER if f"`{room}" not in PAGE and room != "__init__"] == []


def test_every_file_that_the_page_names_is_there():
    named = re.findall(r"`([a-z_]+/[a-z_]+)\.py`", PAGE)
    assert len(named) > 15 and [name for name in named if name not in FILES] == []
