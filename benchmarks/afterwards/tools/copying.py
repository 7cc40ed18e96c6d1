"""Copies: in memory, in files, in other processes."""

import copy
import io
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.afterwards.registry import answers


@answers("deepcopy")
def deep_copy(model, x):
    return copy.deepcopy(model)(x)


@answers("copy.copy")
def shallow_copy(model, x):
    return copy.copy(model)(x)


@answers("pickle")
def pickled(model, x):
    return pickle.loads(pickle.dumps(model))(x)


@answers("torch.save of the whole network")
def saved_whole(model, x):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)(x)


@answers("multiprocessing, spawn")
def spawned(model, x):
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_answer, (model.share_memory(), x, queue), nprocs=1)
    return torch.tensor(queue.get())


def _answer(rank, model, x, queue):
    torch.set_num_threads(1)
    with torch.no_grad():
        queue.put(model(x).tolist())


@answers("threads")
def threaded(model, x):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        return torch.stack(list(pool.map(model, [x] * 8)))[-1]


def _away(model):
    """The model with its weights gone, and what they were."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for tensor in model.state_dict().values():
        tensor.zero_()
    return model, state


@answers("load_state_dict, strict")
def loaded(model, x):
    empty, state = _away(model)
    empty.load_state_dict(state, strict=True)
    return empty(x)


@answers("load_state_dict, assign=True")
def assigned(model, x):
    empty, state = _away(model)
    empty.load_state_dict(state, assign=True)
    return empty(x)


@answers("meta device, to_empty")
def from_meta(model, x):
    state = model.state_dict()
    empty = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    empty.load_state_dict(state)
    return empty(x)


@answers("torch.load (weights_only, mmap)")
def mapped(model, x):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(model.state_dict(), path)
        empty, _ = _away(model)
        empty.load_state_dict(torch.load(path, weights_only=True, mmap=True))
        return empty(x)


@answers("safetensors: save_model, load_model")
def safetensors_model(model, x):
    from safetensors.torch import load_model, save_model

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(model, path)
        empty, _ = _away(model)
        load_model(empty, path)
        return empty(x)


@answers("timm: load_checkpoint of an EMA checkpoint")
def timm_checkpoint(model, x):
    from timm.models import load_checkpoint

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth.tar"
        torch.save({"state_dict": model.state_dict(), "state_dict_ema": model.state_dict(), "epoch": 1}, path)
        empty, _ = _away(model)
        load_checkpoint(empty, str(path), use_ema=True)
        return empty(x)


@answers("timm: CheckpointSaver, resume_checkpoint")
def timm_resumed(model, x):
    from timm.models import resume_checkpoint
    from timm.utils import CheckpointSaver

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TemporaryDirectory() as folder:
        CheckpointSaver(model, optimizer, checkpoint_dir=folder, recovery_dir=folder).save_checkpoint(0, metric=1.0)
        empty, _ = _away(model)
        resume_checkpoint(empty, str(Path(folder) / "last.pth.tar"), optimizer, log_info=False)
        return empty(x)


@answers("accelerate: save_model, load_checkpoint_in_model", needs=["accelerate"])
def accelerate_files(model, x):
    from accelerate import Accelerator, load_checkpoint_in_model

    with TemporaryDirectory() as folder:
        Accelerator(cpu=True).save_model(model, folder)
        empty, _ = _away(model)
        load_checkpoint_in_model(empty, folder)
        return empty(x)


@answers("accelerate: save_state, load_state", needs=["accelerate"])
def accelerate_state(model, x):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(model)
    with TemporaryDirectory() as folder:
        accelerator.save_state(folder)
        _away(accelerator.unwrap_model(prepared))
        accelerator.load_state(folder)
        return prepared(x)


@answers("Lightning: checkpoint, load_state_dict", needs=["lightning"])
def lightning_checkpoint(model, x):
    from lightning.pytorch import LightningModule, Trainer

    class Task(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model

        def training_step(self, batch, index):
            return self.net(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    with TemporaryDirectory() as folder:
        path, task = Path(folder) / "last.ckpt", Task()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(max_epochs=0, accelerator="cpu", devices=1, default_root_dir=folder, **quiet)
        trainer.fit(task, torch.utils.data.DataLoader([x], batch_size=None))
        trainer.save_checkpoint(path)
        _away(model)
        task.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    return model.eval()(x)


@answers("PyTorchModelHubMixin: save_pretrained", needs=["huggingface_hub"])
def hub_mixin(model, x):
    from huggingface_hub import PyTorchModelHubMixin

    class Hosted(torch.nn.Module, PyTorchModelHubMixin):
        def __init__(self):
            super().__init__()
            self.net = copy.deepcopy(model)

        def forward(self, x):
            return self.net(x)

    with TemporaryDirectory() as folder:
        hosted = Hosted()
        hosted.save_pretrained(folder)
        return Hosted.from_pretrained(folder).eval()(x)
