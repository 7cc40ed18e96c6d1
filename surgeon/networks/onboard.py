"""The trained networks that surgeon brings with it, under names of its own."""

from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file
from torch import nn

from surgeon.errors import BadOption
from surgeon.networks.blueprint import Base
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.trace.noise import note, resolved


class Sample(NamedTuple):
    """A network on board: what it is to its library, and the form of what it runs on."""

    base: Base
    example: str


# In front of a colon it means these.
SAMPLE = "sample"
SAMPLES = {"digits": Sample(Base("timm", "test_resnet", {"num_classes": 10, "in_chans": 1}), "2x1x32x32")}
FOLDER = Path(__file__).parents[1] / "samples"


def is_sample(source: object) -> bool:
    """Whether `source` is written as the name of a network on board."""
    return str(source).startswith(f"{SAMPLE}:")


def fill(model: nn.Module, source: str) -> nn.Module:
    """Give a network that was built as `source` its trained weights, and what it runs on; returns it.

    They are stored in half precision, and are in single precision here.

    Raises:
        BadOption: it was built with other arguments than it was trained with.
    """
    name = source.partition(":")[2]
    stored = load_file(FOLDER / f"{name}.safetensors")
    if shapes_of(model) != {key: tuple(stored[key].shape) for key in model.state_dict() if key in stored}:
        arguments = ", ".join(f"{key}={value}" for key, value in SAMPLES[name].base.arguments.items())
        raise BadOption(f"{source} is trained for {arguments}. Leave --num-classes and --arg out.")
    weights = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
    load_weights(model, {key: weights[key] for key in model.state_dict()})
    note(model, resolved(SAMPLES[name].example, model))
    return model
