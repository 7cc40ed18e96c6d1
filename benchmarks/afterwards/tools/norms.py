"""Normalisations of weights, and of maps: put on, exchanged, frozen, folded away."""

import zlib

import torch
from torch import nn

from benchmarks.afterwards.registry import acts, answers, learns
from benchmarks.afterwards.subject import train


def _layers(model):
    """The layers with weights; for each, whatever is drawn at random is drawn again in every network."""
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            torch.manual_seed(zlib.crc32(path.encode()))
            yield module


@answers("weight_norm (old)")
def old_weight_norm(model, x):
    for layer in _layers(model):
        torch.nn.utils.weight_norm(layer)
    return model(x)


@learns("weight_norm (old), training")
def old_weight_norm_training(model, batches):
    for layer in _layers(model):
        torch.nn.utils.weight_norm(layer)
    train(model, batches)
    for layer in _layers(model):
        torch.nn.utils.remove_weight_norm(layer)


@answers("weight_norm (parametrization)")
def weight_norm(model, x):
    for layer in _layers(model):
        torch.nn.utils.parametrizations.weight_norm(layer)
    return model(x)


@learns("weight_norm (parametrization), training, removed")
def weight_norm_training(model, batches):
    for layer in _layers(model):
        torch.nn.utils.parametrizations.weight_norm(layer)
    train(model, batches)
    for layer in _layers(model):
        torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")


@learns("spectral_norm (old)")
def old_spectral_norm(model, batches):
    for layer in _layers(model):
        torch.nn.utils.spectral_norm(layer)
    train(model, batches)


@learns("spectral_norm (parametrization)")
def spectral_norm(model, batches):
    for layer in _layers(model):
        torch.nn.utils.parametrizations.spectral_norm(layer)
    train(model, batches)


@learns("orthogonal (parametrization)", coupled=True)
def orthogonal(model, batches):
    for layer in _layers(model):
        if layer.weight[0].numel() > 1 and layer.weight.dim() == 2:
            torch.nn.utils.parametrizations.orthogonal(layer)
    train(model, batches)


@answers("convert_sync_batchnorm")
def synchronized(model, x):
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)(x)


@answers("timm: convert_sync_batchnorm")
def timm_synchronized(model, x):
    from timm.layers import convert_sync_batchnorm

    return convert_sync_batchnorm(model)(x)


@learns("timm: freeze_batch_norm_2d")
def frozen(model, batches):
    from timm.utils.model import freeze_batch_norm_2d

    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    trained = [name for name, _ in model.named_parameters() if name.rpartition(".")[0] not in norms]
    model = freeze_batch_norm_2d(model)
    train(model, batches)
    weights = dict(model.named_parameters())
    return {name: weights[name] for name in trained}


@learns("batch norms kept in eval mode")
def kept_in_eval(model, batches):
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.eval()
    for x, labels in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()


@acts("torch.func.replace_all_batch_norm_modules_")
def without_statistics(model, x):
    return torch.func.replace_all_batch_norm_modules_(model)(x)


@acts("batch norms replaced by group norms")
def group_norms(model, x):
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, nn.GroupNorm(1, module.num_features))
    return train(model, [(x, torch.arange(4))])(x)


@answers("fx: fuse of convolutions and norms")
def fused(model, x):
    from torch.fx.experimental.optimization import fuse

    return fuse(model)(x)


@answers("fuse_conv_bn_eval, by hand")
def fused_by_hand(model, x):
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in model.modules():
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
            layers = [module._modules.get(name) for name in (conv, norm)]
            if isinstance(layers[0], nn.Conv2d) and layers[0].out_channels == getattr(layers[1], "num_features", None):
                setattr(module, conv, fuse_conv_bn_eval(*layers))
                setattr(module, norm, nn.Identity())
    return model(x)


@answers("timm: reparameterize_model")
def reparameterized(model, x):
    from timm.utils.model import reparameterize_model

    return reparameterize_model(model)(x)
