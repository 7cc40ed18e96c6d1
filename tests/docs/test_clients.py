"""Networks of other libraries: the page says what the table says, no row is worse than the page's words, a sample is measured again."""

import pytest

from benchmarks import clients, trials, truth
from benchmarks.sweep import rows

pytestmark = pytest.mark.clients

ROWS = rows(clients.TABLE)
STRANGERS = ["strangers:cifar_resnet", "strangers:ecg_resnet"]


def test_the_page_is_current():
    assert clients.PAGE.read_text(encoding="utf-8") == clients.written(ROWS)


def test_every_network_that_was_measured_has_its_truth_in_the_list():
    networks = {row["network"] for row in ROWS}
    assert networks and networks <= set(truth.listed()["networks"])


def test_whatever_ran_kept_its_bits_and_came_out_again():
    run = [row for row in ROWS if row["eval"]]
    assert [row for row in run if "DIFFERENT" in (row["eval"], row["train"], row["gradients"])] == []
    assert [row for row in run if row["restored"] != "yes"] == []


def test_nothing_crashes():
    assert [row for row in ROWS if row["verdict"] == "crash"] == []


@pytest.mark.parametrize("network", STRANGERS)
def test_a_network_measured_again_gives_its_rows(network):
    told = [column for column in trials.COLUMNS if column != "seconds"]
    found = [[str(row[column]) for column in told] for row in trials.measured(network)]
    assert found == [[row[column] for column in told] for row in ROWS if row["network"] == network]
