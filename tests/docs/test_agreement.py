"""The places beside what networks say of themselves: the table is whole, explained, and still true of a sample."""

import pytest
import timm
from packaging.version import Version

from benchmarks import agreement, shortcuts
from benchmarks.sweep import rows
from surgeon.errors import TRIED

pytestmark = pytest.mark.network

ROWS = rows(agreement.TABLE)
# One network in so many, in the order of their names: it passes through all families that have many.
EVERY = 75
SAMPLE = list(dict.fromkeys(row["network"] for row in ROWS))[::EVERY]


def test_the_page_is_current():
    assert agreement.PAGE.read_text(encoding="utf-8") == agreement.written(ROWS)


def test_whatever_differs_has_its_reason():
    differing = [row for row in ROWS if row["verdict"] in ("later", "earlier", "missing", "extra")]
    assert differing and not [row for row in differing if not agreement.reason(row["family"], row["verdict"])]


def test_the_sites_of_residual_are_the_shortcuts_of_the_classes():
    counted = [row for row in ROWS if row["what"] == "residual"]
    assert len(counted) == len({row["network"] for row in ROWS}) > 1400
    assert [row for row in counted if row["verdict"] != "same"] == []


@pytest.mark.skipif(
    Version(timm.__version__) < Version(TRIED["timm"][1]), reason="the table is of timm's newest release"
)
@pytest.mark.parametrize("network", SAMPLE)
def test_a_network_looked_at_again_gives_its_rows(network):
    found = [{key: str(value) for key, value in row.items()} for row in agreement.measured(network)]
    assert found == [row for row in ROWS if row["network"] == network]


def test_a_wrong_count_is_noticed(monkeypatch):
    monkeypatch.setattr(shortcuts, "table", lambda: {"timm.models.resnet.BasicBlock": 2})
    assert [row["verdict"] for row in agreement.measured("timm:resnet18") if row["what"] == "residual"] == ["DIFFERENT"]
