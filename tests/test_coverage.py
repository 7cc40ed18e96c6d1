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


SMALL = ["torchvision:squeezenet1_1", "timm:test_resnet", "timm:test_efficientnet", "timm:test_vit", "timm:test_convnext", "timm:test_mambaout", "timm:test_byobnet", "timm:test_maxvit"]


@pytest.mark.filterwarnings("ignore::surgeon.errors.Unread")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("network", SMALL)
def test_a_network_measured_again_gives_its_rows(network):
    """The command itself, on networks that are small enough for every run of the tests."""
    told = [column for column in cells.COLUMNS if column != "seconds"]
    found = [[str(row[column]) for column in told] for row in cells.measured(network, limit=20e6)]
    assert found == [[row[column] for column in told] for row in ROWS if row["network"] == network]
