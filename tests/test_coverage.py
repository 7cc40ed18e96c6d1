"""The results on every network: the page says what the table says, and the table says nothing bad."""

from pathlib import Path

import pytest

from benchmarks import cells, coverage, page
from benchmarks.sweep import rows

ROWS = rows(coverage.TABLE)


def test_the_page_is_current():
    assert Path(coverage.PAGE).read_text(encoding="utf-8") == page.written(ROWS)


def test_whatever_ran_kept_its_bits():
    wrong = [row for row in ROWS if row["eval"] and (row["eval"], row["restored"]) != ("same", "yes")]
    wrong += [row for row in ROWS if row["train"] == "DIFFERENT" or row["gradients"] == "DIFFERENT"]
    assert not wrong


def test_every_network_is_a_row_or_its_reason_is():
    assert ROWS and {row["reason"] for row in ROWS} <= {"", *page.WORDS}


@pytest.mark.parametrize("network", ["torchvision:resnet18", "timm:test_efficientnet", "timm:test_vit"])
def test_a_network_measured_again_gives_its_rows(network):
    """The command itself, on networks that are small enough for every run of the tests."""
    found = cells.measured(network, limit=20e6)
    assert [row["place"] for row in found] == [place for place in cells.PLACES for _ in cells.ATTENTION]
    for row in found:
        assert (row["eval"], row["train"], row["gradients"], row["restored"]) == ("same",) * 3 + ("yes",) or row["reason"] == "no-such-place", row
