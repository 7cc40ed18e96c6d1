"""A log of gates under other people's loops and boards."""

import csv

import pytest
import torch
from torch import nn

import surgeon
from tests.shared.small import tiny

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore")]


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning", reason="pip install lightning")

    class Trained(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = tiny("cbam")

        def training_step(self, batch, number):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters())
            surgeon.GateLog(self.net, tmp_path / "gates.csv", every=2, optimizer=optimizer)
            return optimizer

    data = torch.utils.data.TensorDataset(torch.randn(8, 3, 32, 32), torch.zeros(8).long())
    trainer = lightning.Trainer(
        max_steps=4, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    model = Trained()
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=2))
    rows = list(csv.DictReader((tmp_path / "gates.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2"] * 4 + ["4"] * 4 and all(row["channel_mean"] for row in rows)
    surgeon.save(model.net, tmp_path / "trained.safetensors")
    assert surgeon.report(surgeon.load(tmp_path / "trained.safetensors")).gates


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = tiny("cbam")
    with SummaryWriter(tmp_path) as board:
        log = surgeon.GateLog(model, board, every=1)
        for _ in range(2):
            model(torch.randn(2, 3, 32, 32))
            log.step()
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in read.Scalars("layer1.0.cbam/channel_mean")] == [1, 2]
