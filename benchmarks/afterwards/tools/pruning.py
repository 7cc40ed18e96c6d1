"""Weights and channels taken away."""

import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.afterwards.registry import Silent, acts, learns
from benchmarks.afterwards.subject import train


def _layers(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def _share(weight):
    """The share of zeros."""
    return (weight == 0).float().mean().item()


def _pruned_and_trained(model, batches):
    """Train `model`, whose layers are pruned, and take the masks off; what was pruned must stay so."""
    before = {name: _share(m.weight_mask) for name, m in model.named_modules() if hasattr(m, "weight_mask")}
    train(model, batches)
    for layer in _layers(model):
        prune.remove(layer, "weight")
    lost = [name for name, share in before.items() if _share(model.get_submodule(name).weight) < share]
    if lost:
        raise Silent(f"{len(lost)} of {len(before)} masks are lost in training, first {lost[0]!r}")


@learns("prune.l1_unstructured")
def unstructured(model, batches):
    for layer in _layers(model):
        prune.l1_unstructured(layer, "weight", amount=0.3)
    _pruned_and_trained(model, batches)


@learns("prune.ln_structured")
def structured(model, batches):
    for layer in _layers(model):
        prune.ln_structured(layer, "weight", amount=0.3, n=2, dim=1)
    _pruned_and_trained(model, batches)


@learns("prune.global_unstructured", coupled=True)
def everywhere(model, batches):
    prune.global_unstructured([(layer, "weight") for layer in _layers(model)], prune.L1Unstructured, amount=0.3)
    _pruned_and_trained(model, batches)


@acts("torch-pruning", needs=["torch_pruning"])
def channels(model, x):
    import torch_pruning

    head = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == 10]
    pruner = torch_pruning.pruner.BasePruner(
        model, x, torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=0.5, ignored_layers=head
    )
    before = sum(weight.numel() for weight in model.parameters())
    pruner.step()
    if sum(weight.numel() for weight in model.parameters()) > before * 0.6:
        raise Silent("less than 40 % of the weights are gone")
    return train(model, [(x, torch.arange(4))])(x)


@learns("2:4 sparsity (WeightNormSparsifier)")
def sparsifier(model, batches):
    from torch.ao.pruning import WeightNormSparsifier

    tool = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    paths = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    tool.prepare(model, [{"tensor_fqn": f"{path}.weight"} for path in paths])
    tool.step()
    train(model, batches)
    tool.squash_mask()
