"""The benchmark of starts: what its tasks ask, what it counts, and that it goes on where it stopped."""

import pytest
import torch

import benchmarks.runs
from benchmarks.starts import chart, measure, page, tasks
from benchmarks.starts.grid import SEEDS, runs
from benchmarks.starts.measure import COLUMNS, Run, measured
from benchmarks.starts.networks import NETWORKS
from benchmarks.sweep import rows

pytestmark = pytest.mark.network
RUN = Run("plain", "resnet", "se", "residual", "adamw", "1e-3", "2", "none", "0")


@pytest.fixture
def untrained(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "FIRST", (1, 1e-3))
    monkeypatch.setattr(measure, "FOLDER", tmp_path)
    measure.first.cache_clear()
    yield
    measure.first.cache_clear()


@pytest.mark.parametrize("start", ["none", "eager", "identity", "neutral", "opening", "paper"])
def test_one_epoch(start, untrained, monkeypatch):
    few = tasks.task("plain")
    monkeypatch.setattr(
        measure,
        "task",
        lambda name: tasks.Task(few.training[:, :128], few.labels[:128], few.test[:50], few.test_labels[:50]),
    )
    row = measured(RUN._replace(start=start, epochs="1"))
    assert list(row) == COLUMNS and 0 <= float(row["accuracy"]) <= 1
    assert (row["recalibrated"] != "") == (start == "paper")
    if start == "paper":
        assert float(row["movement"]) > 0.3
    else:
        assert row["at_start"] == row["before"] and (float(row["movement"]) > 0) == (start != "none")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_network_takes_every_task(name, network):
    drawn = tasks.TASKS[name](torch.rand(3, 1, 16, 16), tasks.np.random.default_rng(0))
    model = NETWORKS[network](drawn.shape[1], 2 if drawn.shape[-2] > 30 else 1)
    assert model(drawn).shape == (3, 10)


def test_the_block_has_the_colour_of_the_digit_that_is_meant():
    images = tasks.cued(torch.full((20, 1, 16, 16), 0.25), tasks.np.random.default_rng(0))
    # Of a block all is 1, of a digit a quarter; nothing overlaps.
    assert {tuple(sorted(image.sum((1, 2)).tolist())) for image in images} == {(16.0, 80.0)}


def test_a_task_is_the_same_each_time():
    first = tasks.task("cued")
    tasks.task.cache_clear()
    assert torch.equal(first.training, tasks.task("cued").training)


def test_it_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "starts.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join([*RUN, *["0.5"] * (len(COLUMNS) - len(RUN))]) + "\n")
    benchmarks.runs.measure([RUN], measured, COLUMNS, path, jobs=1)
    assert len(rows(path)) == 1


def test_no_run_is_made_twice():
    assert len(set(runs())) == len(runs()) and SEEDS >= 5


def row(start, seed, accuracy, **values):
    found = dict.fromkeys(COLUMNS, "0.5") | RUN._replace(start=start, seed=seed)._asdict()
    return found | {"accuracy": accuracy, "recalibrated": "", "back": "0"} | values


def test_the_page_compares_seed_by_seed():
    cued = {"task": "cued", "epochs": "2"}
    found = [row("none", "0", "0.5", **cued), row("none", "1", "0.7", **cued), row("eager", "0", "0.6", **cued)]
    found += [row("eager", "1", "0.8", **cued, back=""), row("identity", "0", "0.5", **cued, movement="0.25")]
    text = page.written(found)
    assert "| eager | 2 | 0.700 ± 0.141 | +0.100 ± 0.000 |" in text and "| 0.0, never: 1 |" in text
    assert "| cued, se, adamw 1e-3 | eager | 50.00 % | 2.0 |" in text


def test_the_chart_shows_gains_over_the_network_alone():
    setting = {"task": "cued", "epochs": "10"}
    found = [
        row("none", "0", "0.5", **setting),
        row("eager", "0", "0.75", **setting),
        row("eager", "1", "0.9", **setting),
    ]
    assert chart.gains(found, ("cued", "resnet", "se", "adamw", "1e-3")) == {"eager": [0.25]}


def test_mean_and_spread():
    assert page.spread([0.97, 0.98]) == "0.975 ± 0.007" and page.spread([0.25], sign="+") == "+0.250"
