"""Fine-tuning as the examples do it: the same curve however many processes share it, and whenever it is killed."""

import os
import pickle
import socket
import sys
from pathlib import Path

import numpy
import pytest
import timm
import torch
from PIL import Image
from torch import multiprocessing
from torchvision import datasets

import surgeon
from benchmarks import kills

pytestmark = pytest.mark.network

EXAMPLES = str(Path(__file__).parents[2] / "examples")
SHORT = ["--epochs", "2", "--batch", "256"]


@pytest.fixture
def finetune(monkeypatch):
    """The script, imported from its folder as Python imports what lies beside a script."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import finetune

    return finetune


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network(classes=2, attention="se"):
    return surgeon.inject(timm.create_model("test_resnet", num_classes=classes), attention, reduction=4)


def pictures(folder, classes=("cats", "dogs"), splits=("train", "val")):
    """A folder of pictures as torchvision reads it."""
    draw = numpy.random.default_rng(0)
    for split in splits:
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = draw.integers(0, 256, (40, 40, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return str(folder)


def test_it_learns_and_leaves_a_file(finetune, here):
    curve = finetune.train(finetune.options(["--output", "run", *SHORT]))
    assert len(curve) == 10 == len(kills.curve(here / "run")) and min(curve) < curve[0]
    tuned = surgeon.load("run/tuned.safetensors")
    images, labels = surgeon.samples.digits("test")
    assert (tuned(images).argmax(1) == labels).float().mean() > 0.96
    assert surgeon.report(tuned).opened


def test_the_gates_and_the_head_learn_first(finetune, here):
    finetune.train(finetune.options(["--output", "run", "--epochs", "1", "--batch", "256"]))
    before, after = (finetune.network(name).state_dict() for name in ("sample:digits", "run/tuned.safetensors"))
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved and all(".cbam" in key or key.startswith("fc.") for key in moved)


def test_checkpointing_changes_no_loss(finetune, here):
    plain = finetune.train(finetune.options(["--output", "plain", *SHORT]))
    assert finetune.train(finetune.options(["--output", "other", *SHORT, "--checkpointing"])) == plain


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions(finetune, here, precision):
    one = ["--epochs", "1", "--batch", "512"]
    plain = finetune.train(finetune.options(["--output", "plain", *one]))
    other = finetune.train(finetune.options(["--output", "other", *one, "--precision", precision]))
    # Where little learns; in fp16 the first step overflows, and is left out.
    assert other == pytest.approx(plain, rel=0.3) and other != plain


def test_a_folder_of_pictures(finetune, here):
    surgeon.save(network(), "net.safetensors")
    words = ["net.safetensors", "--data", pictures(here / "data"), "--size", "32", "--batch", "4", "--epochs", "2"]
    curves = [finetune.train(finetune.options([*words, "--output", name])) for name in ("one", "two")]
    # Crops and flips are drawn by epoch and image.
    assert curves[0] == curves[1] and len(curves[0]) == 4


def test_cifar_on_disk(finetune, here, monkeypatch):
    folder = here / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        made = {"data": numpy.zeros((2, 3072), numpy.uint8), "labels": [0, 1]}
        (folder / name).write_bytes(pickle.dumps(made))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(digit) for digit in range(10)]}))
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda path, md5: True)
    for data in (here / "data", folder):
        training, judging, classes = finetune.images(str(data))
        assert (len(training), len(judging), classes) == (10, 2, 10) and training[0][0].shape == (3, 32, 32)


def refused(finetune, words):
    """The one line with which a command ends; nothing is written."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    with pytest.raises(SystemExit) as ended:
        finetune.train(finetune.options(words))
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    assert str(ended.value).startswith("finetune: ") and "\n" not in str(ended.value)
    return str(ended.value)


def test_no_data(finetune, here):
    (here / "data" / "train").mkdir(parents=True)
    assert "no images in data/train" in refused(finetune, ["--data", "data"])
    assert "no images in nowhere/train" in refused(finetune, ["--data", "nowhere"])
    (here / "other" / "train" / "cats").mkdir(parents=True)
    assert "no images in other/train" in refused(finetune, ["--data", "other"])
    (here / "cifar-100-python").mkdir()
    assert "cifar-100-python is not whole" in refused(finetune, ["--data", "."])


def test_other_classes(finetune, here):
    surgeon.save(network(classes=3), "net.safetensors")
    words = ["net.safetensors", "--data", pictures(here / "data"), "--size", "32", "--batch", "4"]
    assert refused(finetune, words).endswith("data has 2 classes, and the head of net.safetensors has 3.")
    pictures(here / "more", splits=["train"])
    pictures(here / "more", classes=["cats", "birds"], splits=["val"])
    assert "do not have the same classes" in refused(finetune, ["--data", "more"])


def test_other_images(finetune, here):
    told = refused(finetune, ["--data", pictures(here / "data"), "--size", "32"])
    assert "the network of sample:digits does not run on the images of" in told


def test_no_attention(finetune, here):
    surgeon.save(network(), "net.safetensors")
    from surgeon.cli import run

    assert run(["strip", "net.safetensors", "--output", "stock", "--quiet"]) == 0
    assert "there is no attention in stock" in refused(finetune, ["stock"])
    assert "nowhere.safetensors" in refused(finetune, ["nowhere.safetensors"])


def test_a_state_of_another_run(finetune, here):
    finetune.train(finetune.options(["--output", "run", *SHORT]))
    # Before a step is taken.
    assert "begun with --epochs 2: another --output" in refused(finetune, ["--output", "run", "--batch", "256"])
    surgeon.save(surgeon.inject(surgeon.samples.load(), "se"), "net.safetensors")
    told = refused(finetune, ["net.safetensors", "--output", "run", *SHORT])
    assert "is of another network: its 'layer" in told
    (here / "run" / "last.pt").write_bytes(b"nothing")
    assert "last.pt can't be read" in refused(finetune, ["--output", "run", *SHORT])


def test_batches_that_are_too_large(finetune, here):
    assert "batches of 5000 of 1297 images" in refused(finetune, ["--batch", "5000"])


def share(rank, port, folder):
    """One of two processes, as torchrun starts it."""
    sys.path.insert(0, EXAMPLES)
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    import finetune

    for number, words in enumerate(([], ["--shard"])):
        os.environ["MASTER_PORT"] = str(port + number)
        finetune.train(finetune.options(["--output", f"{folder}/{number}", *SHORT, *words]))


def free_port():
    """The first of two neighbours that nobody listens at."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("localhost", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("localhost", port + 1))
                return port
            except (OSError, OverflowError):
                continue


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 shards no weights without a GPU")
def test_two_processes_have_the_curve_of_one(finetune, here):
    alone = finetune.train(finetune.options(["--output", "alone", *SHORT]))
    multiprocessing.spawn(share, (free_port(), str(here)), nprocs=2)
    files = [surgeon.load(f"{name}/tuned.safetensors").state_dict() for name in ("alone", "0", "1")]
    for name, file in zip(("0", "1"), files[1:]):
        assert [float(loss) for loss in kills.curve(here / name)] == pytest.approx(alone, rel=1e-5)
        for key, tensor in files[0].items():
            assert torch.allclose(file[key], tensor, rtol=1e-3, atol=1e-4), key


def test_a_killed_run_goes_on_to_the_same_curve(finetune, here, monkeypatch):
    monkeypatch.setattr(kills, "WORDS", [*SHORT, "--save-every", "3"])
    assert kills.killed(here / "run", 0.1)
    was_there = kills.curve(here / "run")
    kills.finished(here / "run")
    finetune.train(finetune.options(["--output", "whole", *SHORT]))
    assert was_there and kills.curve(here / "run") == kills.curve(here / "whole")
