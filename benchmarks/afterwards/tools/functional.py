"""torch.func: networks as functions of their weights, and their derivatives."""

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian, jacrev, jvp, linearize, stack_module_state, vjp, vmap

from benchmarks.afterwards.registry import Silent, answers, looks
from benchmarks.afterwards.subject import without_inplace


def _tensors(model):
    """Weights and statistics; the weights without their history."""
    return {name: weight.detach() for name, weight in model.named_parameters()}, dict(model.named_buffers())


@answers("functional_call")
def called(model, x):
    weights, buffers = _tensors(model)
    for weight in model.parameters():
        weight.data = torch.zeros_like(weight)
    return functional_call(model, (weights, buffers), (x,))


@answers("parametrize by stateless swapping (torch.nn.utils.stateless)")
def stateless(model, x):
    from torch.nn.utils import stateless

    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.data = torch.zeros_like(weight)
    return stateless.functional_call(model, weights, (x,))


@answers("vmap over images")
def mapped(model, x):
    return vmap(lambda image: model(image[None])[0])(x)


@answers("vmap over an ensemble (stack_module_state)")
def ensemble(model, x):
    import copy

    weights, buffers = stack_module_state([model, copy.deepcopy(model)])
    both = vmap(lambda w, b: functional_call(model, (w, b), (x,)))(weights, buffers)
    return both[1].detach()


def _loss(model, buffers):
    def loss(weights, image, label):
        return F.cross_entropy(functional_call(model, (weights, buffers), (image[None],)), label[None])

    return loss


@looks("gradients per image (vmap of grad)")
def per_image(model, x):
    weights, buffers = _tensors(model)
    labels = torch.arange(len(x))
    found = vmap(grad(_loss(model, buffers)), in_dims=(None, 0, 0))(weights, x, labels)
    for name, each in found.items():
        want = torch.autograd.grad(_mean_loss(model, x, labels), model.get_parameter(name), retain_graph=False)[0]
        if (each.mean(0) - want).norm() > 1e-3 * want.norm() + 1e-6:
            raise Silent(f"the gradient of {name!r} per image does not add up to that of the batch")
    return found["conv1.0.weight"], found["fc.weight"]


def _mean_loss(model, x, labels):
    return F.cross_entropy(model(x), labels)


@looks("jvp")
def forward_mode(model, x):
    return jvp(model, (x,), (torch.ones_like(x),))


@looks("forward AD (dual numbers)")
def dual(model, x):
    import torch.autograd.forward_ad as forward_ad

    with forward_ad.dual_level():
        return forward_ad.unpack_dual(model(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


@looks("vjp")
def reverse_mode(model, x):
    y, pull = vjp(model, x)
    return pull(torch.ones_like(y))


@looks("jacrev of the scores")
def jacobian(model, x):
    return jacrev(lambda image: model(image[None])[0])(x[0])


@looks("linearize")
def linearized(model, x):
    y, push = linearize(without_inplace(model.requires_grad_(False)), x)
    return y, push(torch.ones_like(x))


@looks("gradient of a gradient (create_graph)")
def twice(model, x):
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    return torch.autograd.grad(first.square().sum(), x)


@looks("hessian of the loss in one direction")
def curvature(model, x):
    weights, buffers = _tensors(model)
    name = "fc.bias"

    def loss(bias):
        return F.cross_entropy(functional_call(model, (weights | {name: bias}, buffers), (x,)), torch.arange(4))

    return hessian(loss)(weights[name])


@looks("Hessian times vector, forward over reverse")
def forward_over_reverse(model, x):
    return jvp(grad(lambda image: model(image).square().sum()), (x,), (torch.ones_like(x),))[1]
