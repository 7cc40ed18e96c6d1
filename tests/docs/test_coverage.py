"""The results on every network: the page says what the table says, and the table says nothing bad."""

import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks import agreement, cells, coverage, page
from benchmarks.sweep import rows, sweep

pytestmark = pytest.mark.network

ROWS = rows(coverage.TABLE)


def test_the_page_is_current():
    assert Path(coverage.PAGE).read_text(encoding="utf-8") == page.written(ROWS)


def test_whatever_ran_kept_its_bits():
    wrong = [row for row in ROWS if row["eval"] and (row["eval"], row["restored"]) != ("same", "yes")]
    wrong += [row for row in ROWS if row["train"] == "DIFFERENT" or row["gradients"] == "DIFFERENT"]
    assert not wrong


def test_every_network_is_a_row_or_its_reason_is():
    assert ROWS and {row["reason"] for row in ROWS} <= {"", *page.WORDS}


# Convolutions of each library, and tokens; `python -m benchmarks.coverage` measures all networks.
SMALL = ["torchvision:squeezenet1_1", "timm:test_resnet", "timm:test_vit"]


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("network", SMALL)
def test_a_network_measured_again_gives_its_rows(network):
    """The command itself, on networks that are small enough for every run of the tests."""
    told = [column for column in cells.COLUMNS if column != "seconds"]
    found = [[str(row[column]) for column in told] for row in cells.measured(network, limit=20e6)]
    assert found == [[row[column] for column in told] for row in ROWS if row["network"] == network]


def a_row(name):
    return [{"network": name, "sites": len(name)}]


@pytest.mark.parametrize("before", ["", "network,sites\nb,1\n"])
def test_a_table_goes_on_where_it_was_killed(before, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(before)
    sweep(["b", "aa"], a_row, ["network", "sites"], path, jobs=1)
    assert path.read_text() == "network,sites\naa,2\nb,1\n"


def killed(name):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed otherwise there")
def test_a_process_that_is_killed_ends_the_run_and_not_what_it_found(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("network,sites\nb,1\n")
    with pytest.raises(SystemExit, match="goes on where it was"):
        sweep(["b", "aa"], killed, ["network", "sites"], path, jobs=1)
    assert path.read_text() == "network,sites\nb,1\n"


def test_both_tables_count_the_same_residual_branches():
    counted = {row["network"]: int(row["found"]) for row in rows(agreement.TABLE) if row["what"] == "residual"}
    sites = {row["network"]: int(row["sites"] or 0) for row in ROWS if row["place"] == "residual"}
    assert sites == counted
