"""The page of evidence says what the tables say; and each experiment runs, on a few images."""

import csv
import os
import signal

import pytest
import torch
import torchvision

from benchmarks import evidence, runs
from benchmarks.ablations import measure as ablations
from benchmarks.ablations import page as ablated
from benchmarks.ablations.variants import TABLES, VARIANTS
from benchmarks.curves import measure as curves
from benchmarks.final import measure as final
from benchmarks.final import page as finals
from benchmarks.looks import measure as looks
from benchmarks.looks import tasks as canvases
from benchmarks.noise import measure as noise
from benchmarks.noise import tasks
from benchmarks.starts import tasks as starts
from benchmarks.sweep import rows

pytestmark = pytest.mark.network


def test_the_page_is_current():
    assert evidence.PAGE.read_text(encoding="utf-8") == evidence.written(), "run: python -m benchmarks.evidence"


def few(of, count=64):
    """A task with its first images only, of one epoch."""
    parts = (of.images[:count], of.labels[:count], of.test[:50], of.test_labels[:50])
    return tasks.Task(*parts, of.trained, of.fresh, epochs=1, crops=of.crops)


@pytest.mark.parametrize(("stem", "attention"), [("kept", "none"), ("mean", "eager"), ("fresh", "paper")])
def test_noise_beside_real_channels(stem, attention, monkeypatch):
    small = few(tasks.digits())
    monkeypatch.setattr(noise, "task", lambda name, folder: small)
    row = noise.measured(noise.Run("digits", stem, "6", attention, "1", "0"))
    assert list(row) == noise.COLUMNS and 0 <= float(row["accuracy"]) <= 1 and float(row["kernels"]) >= 0
    scores = [row[channel] for channel in noise.CHANNELS]
    assert all(score == "" for score in scores) if attention == "none" else all(0 < float(s) < 1 for s in scores)
    assert (row["off"] == "") == (attention == "none")


def test_without_noise(monkeypatch):
    small = few(tasks.digits())
    monkeypatch.setattr(noise, "task", lambda name, folder: small)
    assert noise.measured(noise.Run("digits", "kept", "3", "none", "1", "0"))["kernels"] == ""


def test_new_weights_start_as_they_are_called():
    of = few(tasks.digits())
    weights = {}
    for stem in ("kept", "mean", "fresh"):
        torch.manual_seed(0)
        weights[stem] = noise.network(of, stem, 6, 1, 0, torch.device("cpu")).conv1[0].weight
    real = weights["kept"][:, :3]
    assert torch.equal(weights["mean"][:, :3], real) and not weights["kept"][:, 3:].any()
    assert torch.equal(weights["mean"][:, 3:4], real.mean(1, keepdim=True)) and weights["fresh"][:, 3:].any()


@pytest.fixture
def cifar(monkeypatch, tmp_path):
    """The folder of a CIFAR-10 of eight images."""

    class Cifar:
        def __init__(self, folder, train):
            assert folder == str(tmp_path)
            draw = torch.Generator().manual_seed(int(train))
            self.data = torch.randint(0, 256, (8, 32, 32, 3), generator=draw, dtype=torch.uint8).numpy()
            self.targets = [number % 10 for number in range(8)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Cifar)
    for cached in (tasks.task, final.task):
        cached.cache_clear()
    yield str(tmp_path)
    for cached in (tasks.task, final.task):
        cached.cache_clear()


def test_cifar(cifar):
    row = noise.measured(noise.Run("cifar10", "kept", "6", "eager", "1", "0"), cifar)
    assert 0 < float(row["red"]) < 1


def test_cifar_is_for_the_whole_mobilenet(cifar):
    row = final.measured(final.Run("cifar10", "eager", "1", "0"), cifar)
    whole = sum(weight.numel() for weight in torchvision.models.mobilenet_v2(num_classes=10).parameters())
    # An MLP of two layers with 80 hidden units at 1,280 channels, biases and all.
    assert row["weights"] == whole + 2 * 1280 * 80 + 1280 + 80


def test_images_are_shifted_and_mirrored():
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(40, 1, 8, 8)
    moved = tasks.shifted(image, torch.Generator().manual_seed(0))
    assert moved.shape == image.shape and len({tuple(one.flatten().tolist()) for one in moved}) > 20


def test_a_command_goes_on_where_it_stopped(tmp_path):
    chosen = [noise.Run("digits", "kept", "6", "none", "1", str(seed)) for seed in range(3)]
    path = tmp_path / "noise.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, noise.COLUMNS)
        writer.writeheader()
        writer.writerow(dict.fromkeys(noise.COLUMNS, "0") | chosen[1]._asdict())
    runs.measure(chosen, told, noise.COLUMNS, path, 1)
    runs.measure(chosen, refused, noise.COLUMNS, path, 1)
    found = rows(path)
    assert [row["seed"] for row in found] == ["1", "0", "2"] and [row["accuracy"] for row in found] == ["0", "1", "1"]


def told(run):
    return dict.fromkeys(noise.COLUMNS, "1") | run._asdict()


def refused(run):
    raise AssertionError("it is there already")


def killed(run):
    if run.seed == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return told(run)


def test_a_process_that_is_killed_ends_the_command_and_not_its_table(tmp_path):
    path, chosen = (
        tmp_path / "noise.csv",
        [noise.Run("digits", "kept", "6", "none", "1", str(seed)) for seed in range(3)],
    )
    with pytest.raises(SystemExit, match="a process was killed. The table has what was done"):
        runs.measure(chosen, killed, noise.COLUMNS, path, 1)
    assert [row["seed"] for row in rows(path)] == ["0"]
    runs.measure(chosen, told, noise.COLUMNS, path, 1)
    assert sorted(row["seed"] for row in rows(path)) == ["0", "1", "2"]


@pytest.mark.parametrize("start", curves.STARTS)
def test_the_first_steps(start, monkeypatch):
    monkeypatch.setattr(curves, "train", lambda seed: curves.surgeon.samples.load())
    monkeypatch.setattr(curves, "STEPS", 2)
    row = curves.measured(curves.Run(start, "1e-4", "0"))
    assert row.keys() == {*curves.Run._fields, "0", "1", "2"}
    alone = curves.accuracy(curves.surgeon.samples.load(), *curves.surgeon.samples.digits("test"))
    assert (row["0"] == f"{alone:.3f}") == (start != "paper")


def test_the_digit_is_where_the_box_says():
    drawn = canvases.drawn("test", torch.Generator().manual_seed(0))
    digits, labels = canvases.small("test")
    assert torch.equal(drawn.labels, labels) and (drawn.boxes.sum((1, 2)) == canvases.DIGIT**2).all()
    inside = drawn.images[:, 0][drawn.boxes].view(-1, canvases.DIGIT, canvases.DIGIT)
    assert (inside >= digits[:, 0]).all() and (drawn.images.amax((1, 2, 3)) <= 1).all()
    assert drawn.images[:, 0][~drawn.boxes].any()


@pytest.mark.parametrize("attention", looks.ATTENTION)
def test_where_it_looks(attention, monkeypatch):
    monkeypatch.setattr(looks, "EPOCHS", 1)
    full = canvases.drawn
    monkeypatch.setattr(
        looks, "drawn", lambda split, draw: canvases.Canvases(*(part[:64] for part in full(split, draw)))
    )
    row = looks.measured(looks.Run(attention, "" if attention == "none" else "eager", "0"))
    assert list(row) == looks.COLUMNS and 0 <= float(row["cam"]) <= 1
    assert (row["spatial"] != "") == (attention in ("cbam", "bam"))


def test_shares():
    maps, boxes = torch.ones(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    boxes[:, :2, :2] = True
    maps[1] = boxes[1].float()
    assert looks.inside(maps, boxes) == pytest.approx((0.25 + 1) / 2)


def test_without_ray_a_line_says_so_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "find_spec", lambda name: None)
    with pytest.raises(
        SystemExit, match=r"^--ray: Ray is not installed\. pip install -e '\.\[train\]', or leave --ray out"
    ):
        runs.measure(
            [final.Run("digits", "none", "1", "0")], refused, final.COLUMNS, tmp_path / "final.csv", 1, "local"
        )
    assert not [*tmp_path.iterdir()]


def test_each_variant_is_in_a_table_and_differs_from_the_others():
    assert {"none", *(row for table in TABLES.values() for row in table.rows)} == set(VARIANTS)
    assert all(table.chosen in table.rows and {*table.published} <= {"none", *table.rows} for table in TABLES.values())
    assert len({(v.attention, v.where, str(sorted(v.options.items())), v.blocks) for v in VARIANTS.values()}) == len(
        VARIANTS
    )


@pytest.mark.parametrize("variant", ["none", "block", "bam dilation 6", "bam in-block", "cbam conv 3", "cbam identity"])
def test_an_ablation(variant, monkeypatch):
    of = starts.task("cued")
    small = starts.Task(of.training[:, :64], of.labels[:64], of.test[:50], of.test_labels[:50])
    monkeypatch.setattr(ablations, "task", lambda name: small)
    monkeypatch.setattr(ablations, "EPOCHS", 1)
    row = ablations.measured(ablations.Run(variant, "0"))
    assert list(row) == ablations.COLUMNS and 0 <= float(row["accuracy"]) <= 1
    assert (row["off"] != "") == bool(VARIANTS[variant].attention) and (row["weights"] > 0) == (variant != "none")


def test_a_block_more_stands_where_bam_would():
    example = starts.task("cued").test[:2]
    bam, block = (ablations.network(VARIANTS[name], example) for name in ("bam", "block"))
    assert [gate.site.module for gate in ablations.surgeon.attention_modules(bam).values()] == ["layer1", "layer2"]
    assert [len(block.get_submodule(f"layer{number}")) for number in (1, 2, 3)] == [2, 2, 1]


def accuracies(variant, *values):
    return [
        {"variant": variant, "seed": str(seed), "accuracy": str(value), "off": "0.5", "weights": "10"}
        for seed, value in enumerate(values)
    ]


def test_differences_within_the_spread_say_nothing():
    found = accuracies("bam", 0.90, 0.91, 0.90, 0.91, 0.90) + accuracies("block", 0.80, 0.81, 0.81, 0.80, 0.80)
    found += accuracies("bam in-block", 0.91, 0.90, 0.91, 0.90, 0.91) + accuracies("bam dilation 1", 0.8, 0.8)
    text = ablated.section(found)
    assert (
        "an ordinary block more instead (-0.100) clearly worse; nothing can be concluded of BAM in each residual block (+0.002), within"
        in text
    )
    assert "nothing can be concluded of dilation 1 (-0.105), within the spread" in text
    assert "- BAM: reduction: not measured." in text and "| dilation 2 | 0 | not measured |" in text
    assert f"**Not measured yet**: {5 * len(VARIANTS) - 17} of {5 * len(VARIANTS)} runs." in text
    assert "| **both branches** | 5 | 0.904 ± 0.005 |  | 0.500 ± 0.000 | 10 | 20.00 (-1.49) |" in text


@pytest.mark.parametrize("attention", final.ARMS)
def test_attention_on_the_final_map(attention, monkeypatch):
    small = few(final.task("digits", ""))
    monkeypatch.setattr(final, "task", lambda name, folder: small)
    row = final.measured(final.Run("digits", attention, "1", "0"))
    assert list(row) == final.COLUMNS and 0 <= float(row["accuracy"]) <= 1
    assert (row["off"] == "") == (attention == "none") and (row["weights"] > 500_000) == (attention != "none")


@pytest.mark.parametrize(
    ("gain", "told"), [(0.1, "**it helps**, by more"), (-0.1, "**it harms**"), (0, "**nothing can be concluded**")]
)
def test_what_attention_on_the_final_map_brings(gain, told):
    arm = lambda attention, *values: [
        row | {"task": "digits", "attention": attention} for row in accuracies("", *values)
    ]
    text = finals.section(arm("none", 0.8, 0.81, 0.8, 0.81, 0.8) + arm("eager", *[0.8 + gain] * 5))
    assert told in text and "CIFAR-10," not in text and "`paper` changes" not in text
