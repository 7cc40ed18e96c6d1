"""The state of a run: all that a killed one needs to go on as if nothing had been, whole on disk or not at all."""

import csv
import os
import pickle
from contextlib import contextmanager

import torch
from finetune_data import Bad
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

import surgeon

# What may differ between two parts of one run.
FREE = ("output", "workers", "save_every", "shard", "checkpointing")


class Run:
    """A run under way: its curve (the loss of each step), the averaged weights, and the way to disk and back."""

    def __init__(self, args, net, optimizer, schedule, scaler, *, is_writer):
        self.args, self.net, self.is_writer, self.curve = args, net, is_writer, []
        self.parts = {"optimizer": optimizer, "schedule": schedule, "scaler": scaler}
        self.average = {key: tensor.detach().clone() for key, tensor in net.state_dict().items()}
        self.file = args.output / "last.pt"

    def step(self, loss):
        """Let all that learns follow the gradient of `loss`."""
        optimizer, scaler = self.parts["optimizer"], self.parts["scaler"]
        scale = scaler.get_scale()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        # In fp16 a step whose gradients overflow is left out, and the scale lowered.
        if scaler.get_scale() >= scale:
            self.parts["schedule"].step()

    @torch.no_grad()
    def count(self, loss):
        """One step is over: average the weights, and save now and then."""
        self.curve.append(loss)
        decay = min(self.args.average, len(self.curve) / (10 + len(self.curve)))
        for key, tensor in self.net.state_dict().items():
            mean = self.average[key]
            mean.lerp_(tensor, 1 - decay) if mean.is_floating_point() else mean.copy_(tensor)
        if len(self.curve) % self.args.save_every == 0:
            self.save()

    @contextmanager
    def averaged(self):
        """Inside, the network has the averaged weights."""
        own = {key: tensor.detach().clone() for key, tensor in self.net.state_dict().items()}
        fill(self.net, self.average)
        try:
            yield
        finally:
            fill(self.net, own)

    def save(self):
        """Everything to `last.pt`, and the curve beside it."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"net": self.net.state_dict(), "average": self.average, "curve": self.curve, "args": self.told()}
        state = tree_map_only(DTensor, lambda tensor: tensor.full_tensor(), state)
        if not self.is_writer:
            return
        self.args.output.mkdir(parents=True, exist_ok=True)
        replace(self.file, lambda path: torch.save(state, path))
        replace(self.args.output / "curve.csv", self.write_curve)

    def write_curve(self, path):
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([("step", "loss"), *enumerate(self.curve)])

    def told(self):
        """What makes the curve what it is."""
        return {name: str(value) for name, value in vars(self.args).items() if name not in FREE}

    def resume(self):
        """Go on from `last.pt`, where there is one."""
        if not self.file.exists():
            return
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise Bad(f"finetune: {self.file} can't be read: {str(error).splitlines()[0]}") from None
        here = f"finetune: {self.file} is of another"
        for key, tensor in self.net.state_dict().items():
            if key not in state["net"] or state["net"][key].shape != tensor.shape:
                raise Bad(f"{here} network: its {key!r} differs. Another --output begins anew.")
        for name, value in self.told().items():
            if state["args"].get(name) != value:
                was = f"--{name.replace('_', '-')} {state['args'].get(name)}"
                raise Bad(f"{here} run, begun with {was}: another --output begins anew.")
        fill(self.net, state["net"])
        self.average = {key: as_in(state["average"][key], old) for key, old in self.average.items()}
        weights = [weight for group in self.parts["optimizer"].param_groups for weight in group["params"]]
        for index, kept in state["optimizer"]["state"].items():
            for name, tensor in kept.items():
                kept[name] = as_in(tensor, weights[index]) if tensor.shape == weights[index].shape else tensor
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.curve = state["curve"]

    def finish(self, fresh):
        """Save, and write the averaged weights as a file of surgeon's, by a network that was built anew."""
        self.save()
        whole = tree_map_only(DTensor, lambda tensor: tensor.full_tensor(), self.average)
        if self.is_writer:
            fresh.load_state_dict(whole)
            surgeon.save(fresh, self.args.output / "tuned.safetensors")


def replace(target, write):
    """Let a file appear whole: written beside, flushed, renamed."""
    part = target.with_name(f".{target.name}.part")
    write(part)
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def as_in(tensor, like):
    """A whole tensor laid out as `like` is: on its device, or cut into the parts of its mesh."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)


@torch.no_grad()
def fill(net, tensors):
    """Copy whole tensors, or parts like the network's own, into the network."""
    for key, tensor in net.state_dict().items():
        given = tensors[key]
        tensor.copy_(given if isinstance(given, DTensor) else as_in(given, tensor))
