"""docs/yolo.md, as it stands there: into a checkpoint, trained, validated, resumed, fused, exported, opened elsewhere."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from torch import nn

import surgeon
from surgeon.errors import BadModel

pytestmark = [
    pytest.mark.clients,
    # What ultralytics and what it calls warn of.
    pytest.mark.filterwarnings("ignore"),
]

os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}
ultralytics = pytest.importorskip("ultralytics", reason="ultralytics is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "yolo.md"
NAMES = ["yolov8n", "yolo11n"]
SIDE = 64


def trainer():
    """The class that the page shows."""
    scope = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0], scope)
    return scope["AttentionTrainer"]


def stirred(name):
    """A network with random weights, and norms that do something."""
    torch.manual_seed(0)
    yolo = ultralytics.YOLO(f"{name}.yaml")
    for module in yolo.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return yolo


def data(folder):
    """Four squares to train with and four to validate."""
    numbers = numpy.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(4):
            image = numbers.integers(0, 255, (SIDE, SIDE, 3), dtype=numpy.uint8)
            image[16:48, 16:48] = 255 * (number % 2)
            Image.fromarray(image).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [dark, light]\n")
    return folder / "data.yaml"


def scores(model):
    """What a network says of one image."""
    torch.manual_seed(1)
    with torch.no_grad():
        found = copy.deepcopy(model).float().eval()(torch.rand(1, 3, SIDE, SIDE))
    return found[0] if isinstance(found, (tuple, list)) else found


def last_layers(model):
    """The weights that start at 0, of the MLPs."""
    return [weight for name, weight in surgeon.attention_parameters(model).items() if name.endswith("fc2.weight")]


class Interrupted(Exception):
    """Somebody pulls the plug after the first epoch."""


def interrupt(trainer):
    raise Interrupted


FRESH = """
import sys, torch
from ultralytics import YOLO
model = YOLO(sys.argv[1]).model.float().eval()
torch.manual_seed(1)
with torch.no_grad():
    torch.save(model(torch.rand(1, 3, 64, 64))[0], sys.argv[2])
"""


@pytest.mark.parametrize("name", NAMES)
def test_the_page(name, tmp_path):
    own, base = trainer(), stirred(name)
    base.save(tmp_path / "base.pt")
    settings = dict(
        data=str(data(tmp_path)), epochs=2, imgsz=SIDE, batch=2, nbs=2, workers=0, device="cpu", project=str(tmp_path),
        name="run", exist_ok=True, plots=False, amp=False, optimizer="SGD", warmup_epochs=0, lr0=0.01,
    )  # fmt: skip

    # Into a checkpoint, and interrupted.
    yolo, seen = ultralytics.YOLO(tmp_path / "base.pt"), []
    yolo.add_callback("on_pretrain_routine_end", lambda trainer: seen.append(copy.deepcopy(trainer.model)))
    yolo.add_callback("on_model_save", interrupt)
    with pytest.raises(Interrupted):
        yolo.train(trainer=own, **settings)
    paths = list(surgeon.attention_modules(seen[0]))
    assert paths
    with surgeon.disabled(seen[0]):
        without = scores(seen[0])
    assert torch.equal(scores(seen[0]), without)
    last = tmp_path / "run" / "weights" / "last.pt"
    half = ultralytics.YOLO(last).model
    assert list(surgeon.attention_modules(half)) == paths and any(weight.any() for weight in last_layers(half))

    # Resumed and validated, by the trainer itself and after it.
    ultralytics.YOLO(last).train(trainer=own, resume=True)
    done = ultralytics.YOLO(last)
    assert list(surgeon.attention_modules(done.model)) == paths
    assert any(not torch.equal(one, other) for one, other in zip(last_layers(half), last_layers(done.model)))
    assert surgeon.check(done.model.float()).calls == dict.fromkeys(paths, 1)
    ultralytics.YOLO(last).val(
        data=settings["data"], imgsz=SIDE, device="cpu", workers=0, plots=False, project=str(tmp_path)
    )

    # Fused, with attention that acts.
    for weight in last_layers(done.model):
        weight.data.fill_(0.02)
    fused = copy.deepcopy(done.model).float().eval().fuse(verbose=False)
    torch.testing.assert_close(scores(fused), scores(done.model), rtol=1e-4, atol=1e-4)
    assert surgeon.check(fused).calls == dict.fromkeys(paths, 1)

    # In a fresh process.
    subprocess.run([sys.executable, "-c", FRESH, last, tmp_path / "scores.pt"], check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "scores.pt"), scores(ultralytics.YOLO(last).model))


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_keeps_its_bits(name):
    base, own = stirred(name).model.eval(), trainer()
    maker = object.__new__(own)
    maker.args = SimpleNamespace(cls_remap=False)
    maker.data = {"nc": 80, "channels": 3, "names": base.names}
    model = maker.get_model(f"{name}.yaml", base, verbose=False)
    assert surgeon.attention_modules(model) and torch.equal(scores(model), scores(base))


@torch.no_grad()
@pytest.mark.parametrize("where", ["residual", "bottleneck", "final", "input", "**.cv2", "**.bn"])
@pytest.mark.parametrize("name", NAMES)
def test_fused_with_attention_anywhere(name, where):
    model = surgeon.inject(stirred(name).model.eval(), "cbam", where=where, init="paper")
    fused = copy.deepcopy(model).fuse(verbose=False)
    if where == "**.bn":
        with pytest.raises(BadModel, match="stands behind 'bn', which is gone"):
            fused(torch.rand(1, 3, SIDE, SIDE))
        assert not surgeon.check(fused).is_whole
        return
    torch.testing.assert_close(scores(fused), scores(model), rtol=1e-4, atol=1e-4)
    calls = surgeon.check(fused).calls
    assert set(calls.values()) == {1} and list(calls) == list(surgeon.attention_modules(model))


def test_exported(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    yolo = stirred("yolov8n")
    surgeon.inject(yolo.model.eval(), "cbam", where="residual", init="paper")
    yolo.save(tmp_path / "attention.pt")
    file = ultralytics.YOLO(tmp_path / "attention.pt").export(format="onnx", imgsz=SIDE, simplify=False, device="cpu")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    torch.manual_seed(1)
    (found,) = session.run(None, {session.get_inputs()[0].name: torch.rand(1, 3, SIDE, SIDE).numpy()})
    torch.testing.assert_close(torch.from_numpy(found), scores(yolo.model), rtol=1e-3, atol=1e-3)
