"""The same as finetune.py by Lightning: python examples/finetune_lightning.py [FILE] [--data DATA] [--output FOLDER].

What the Trainer brings is left to it: devices, DDP, precision, progress, states on disk. Give the same command again after
a kill, and it goes on from the last epoch.
"""

import lightning
import torch
import torch.nn.functional as F
from finetune import NORMS, options
from finetune_data import check_head, images, network
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

import surgeon


class Finetuning(lightning.LightningModule):
    def __init__(self, net, args):
        super().__init__()
        self.net, self.args = net, args

    def on_train_epoch_start(self):
        self.net.train()
        for module in self.net.modules():
            if isinstance(module, NORMS):
                module.eval()
        self.net.requires_grad_(True)
        if self.current_epoch < self.args.warm_up:
            surgeon.freeze(self.net, head=True)

    def training_step(self, batch, index):
        pixels, labels = batch
        loss = F.cross_entropy(self.net(pixels), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, index):
        pixels, labels = batch
        right = (self.net(pixels).argmax(1) == labels).float().mean()
        self.log("accuracy", right, prog_bar=True, sync_dist=True, batch_size=len(labels))

    def configure_optimizers(self):
        groups = surgeon.param_groups(self.net, lr=self.args.lr, weight_decay=self.args.weight_decay)
        optimizer = torch.optim.AdamW(groups)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(args):
    lightning.seed_everything(args.seed, verbose=False)
    net = network(args.source)
    training, judging, classes = images(args.data, args.size)
    check_head(net, judging, classes, args.source, args.data)
    average = EMAWeightAveraging(decay=args.average)
    saving = ModelCheckpoint(args.output, filename="last", enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        precision={"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[args.precision],
        # Which weights learn changes after the warm-up.
        strategy="ddp_find_unused_parameters_true" if torch.cuda.device_count() > 1 else "auto",
        callbacks=[saving, average],
        default_root_dir=args.output,
        logger=False,
        enable_model_summary=False,
    )
    last = args.output / "last.ckpt"
    trainer.fit(
        Finetuning(net, args),
        DataLoader(training, args.batch, shuffle=True, drop_last=True, num_workers=args.workers),
        DataLoader(judging, args.batch, num_workers=args.workers),
        ckpt_path=last if last.exists() else None,
        weights_only=False,
    )
    # The callback has put the averaged weights in the place of the last ones.
    surgeon.save(net, args.output / "tuned.safetensors")
    return trainer


if __name__ == "__main__":
    train(options())
