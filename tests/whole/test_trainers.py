"""Trainers of other libraries: checkpoints with a trainer's prefixes, and optimizers that they wrap."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import surgeon
from tests.shared.bits import assert_same_bits
from tests.shared.small import tiny

pytestmark = [pytest.mark.tools]
lightning = pytest.importorskip("lightning", reason="lightning is not installed")
accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")


def data():
    return DataLoader(TensorDataset(torch.randn(8, 3, 64, 64), torch.arange(8) % 4), batch_size=4)


class Module(lightning.LightningModule):
    def __init__(self, net):
        super().__init__()
        self.net, self.loss = net, nn.CrossEntropyLoss(weight=torch.ones(4))

    def training_step(self, batch, index):
        images, labels = batch
        return self.loss(self.net(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_lightnings(tmp_path):
    model = tiny()
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(model), data())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = tiny()
    placed = surgeon.load_published(again, torch.load(tmp_path / "last.ckpt", weights_only=False))
    assert placed.keys() == model.state_dict().keys()
    assert_same_bits(again.state_dict(), model.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_an_optimizer_of_accelerates():
    model = tiny(attention=None)
    fabric = accelerate.Accelerator(cpu=True)
    model, optimizer, batches = fabric.prepare(model, torch.optim.AdamW(model.parameters(), lr=0.01), data())
    surgeon.inject(model, "se")
    assert surgeon.add_to(optimizer, model, lr=0.1) is optimizer
    before = {name: weight.detach().clone() for name, weight in surgeon.attention_parameters(model).items()}
    for images, labels in batches:
        optimizer.zero_grad()
        fabric.backward(nn.functional.cross_entropy(model.train()(images), labels))
        optimizer.step()
    moved = [
        name for name, weight in surgeon.attention_parameters(model).items() if not torch.equal(weight, before[name])
    ]
    assert any(name.endswith("fc1.weight") for name in moved) and any(name.endswith("fc2.weight") for name in moved)
