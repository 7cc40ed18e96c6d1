"""The networks of benchmarks/clients.yaml under names that rules can expect something of: `benchmarks.named:transformers__YOLOS`."""

from functools import partial

from benchmarks import trials, truth


def __getattr__(name):
    """A function that makes the network whose library and name stand before and after two underscores."""
    network = name.replace("__", ":", 1)
    if network not in truth.listed()["networks"]:
        raise AttributeError(f"no network {network!r} in {truth.LIST.name}")
    return partial(trials.made, network)
