"""The benchmark of starts: what it counts, and that it goes on where it stopped."""

import pytest

from benchmarks import starts

pytestmark = pytest.mark.network


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(starts, "trained", lambda task, seed: starts.Network().eval())


@pytest.mark.parametrize(
    ("attention", "start"), [("cbam", "neutral"), ("bam", "identity"), ("eca", "paper"), ("none", "none")]
)
def test_without_training_an_exact_start_moves_nothing(attention, start, untrained):
    row = starts.measured("digits", attention, start, "1e-3", "0", "0")
    assert list(row) == starts.COLUMNS and row["accuracy"] == row["accuracy_start"]
    if start == "paper":
        assert float(row["movement"]) > 0.3
    else:
        assert float(row["movement"]) == 0 and row["accuracy_before"] == row["accuracy"] == row["disabled"]


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(
        starts, "measured", lambda *run: measured.append(run) or dict(zip(starts.COLUMNS, [*run, *"1234567"]))
    )
    runs, path = [("digits", "se", start, "1e-3", "2", "0") for start in starts.STARTS], tmp_path / "starts.csv"
    starts.measure(runs[:2], path)
    starts.measure(runs, path)
    assert measured == runs
    assert starts.table(starts.rows(path)).splitlines()[2:] == [
        f"| digits | se | 1e-3 | 2 | {start} | 600.00 ± 0.00 % | 3.000 ± 0.000 | 4.000 ± 0.000 | 5.000 ± 0.000 |"
        for start in starts.STARTS
    ]


def test_mean_and_spread():
    assert starts.spread([0.01, 0.03], as_share=True) == "2.00 ± 1.41 %"
    assert starts.spread([0.5], as_share=False) == "0.500 ± 0.000"
