"""Looking into a network: features, explanations, counts, hooks."""

import torch

from benchmarks.afterwards.registry import Silent, answers, counts, looks
from benchmarks.afterwards.subject import without_inplace


@looks("torchvision: create_feature_extractor")
def torchvision_features(model, x):
    from torchvision.models.feature_extraction import create_feature_extractor

    return create_feature_extractor(model, ["layer2", "layer4"])(x)


@looks("timm: FeatureListNet")
def timm_features(model, x):
    from timm.models import FeatureListNet

    return FeatureListNet(model, out_indices=(1, 2, 3))(x)


@looks("timm: FeatureHookNet")
def timm_hooks(model, x):
    from timm.models import FeatureHookNet

    return FeatureHookNet(model, out_indices=(1, 2, 3))(x)


@looks("timm: FeatureGraphNet")
def timm_graph(model, x):
    from timm.models import FeatureGraphNet

    return FeatureGraphNet(model, out_indices=(1, 2, 3))(x)


@looks("timm: forward_intermediates")
def timm_intermediates(model, x):
    return model.forward_intermediates(x, intermediates_only=True)


@looks("timm: forward_features, forward_head")
def timm_parts(model, x):
    features = model.forward_features(x)
    return features, model.forward_head(features, pre_logits=True)


@looks("forward hooks on each block")
def forward_hooks(model, x):
    seen = []
    for module in model.modules():
        if type(module).__name__ in ("BasicBlock", "Bottleneck"):
            module.register_forward_hook(lambda module, args, y: seen.append(y.clone()))
    model(x)
    return seen


@looks("full backward hooks on each convolution")
def backward_hooks(model, x):
    seen = []
    for name in ("layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv2"):
        model.get_submodule(name).register_full_backward_hook(lambda module, given, got: seen.append(got[0].clone()))
    without_inplace(model)(x).square().sum().backward()
    return seen


def _cam(name, model, x):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    method = getattr(pytorch_grad_cam, name)
    with method(model=model, target_layers=[model.layer3[-1]]) as cam:
        return torch.from_numpy(cam(input_tensor=x, targets=[ClassifierOutputTarget(label) for label in range(len(x))]))


@looks("grad-cam: GradCAM", needs=["pytorch_grad_cam"])
def grad_cam(model, x):
    return _cam("GradCAM", model, x)


@looks("grad-cam: GradCAMPlusPlus", needs=["pytorch_grad_cam"])
def grad_cam_plus_plus(model, x):
    return _cam("GradCAMPlusPlus", model, x)


@looks("grad-cam: ScoreCAM", needs=["pytorch_grad_cam"])
def score_cam(model, x):
    return _cam("ScoreCAM", model, x)


@looks("grad-cam: EigenCAM", needs=["pytorch_grad_cam"])
def eigen_cam(model, x):
    return _cam("EigenCAM", model, x)


def _attributed(name, model, x, *args, **options):
    import captum.attr

    method = getattr(captum.attr, name)(without_inplace(model), *args)
    return method.attribute(x.clone().requires_grad_(), target=1, **options)


@looks("captum: Saliency", needs=["captum"])
def saliency(model, x):
    return _attributed("Saliency", model, x)


@looks("captum: IntegratedGradients", needs=["captum"])
def integrated_gradients(model, x):
    return _attributed("IntegratedGradients", model, x, n_steps=8)


@looks("captum: GuidedBackprop", needs=["captum"])
def guided_backprop(model, x):
    return _attributed("GuidedBackprop", model, x)


@looks("captum: DeepLift", needs=["captum"])
def deep_lift(model, x):
    return _attributed("DeepLift", model, x)


@looks("captum: LRP", needs=["captum"])
def lrp(model, x):
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
    from captum.attr._utils.lrp_rules import EpsilonRule

    # captum has no rule for some layers (Identity, Conv1d, timm's Sigmoid), and asks for one.
    known = {*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS}
    for module in model.modules():
        if not list(module.children()) and type(module) not in known:
            module.rule = EpsilonRule()
    return _attributed("LRP", model, x)


@looks("captum: GradientShap", needs=["captum"])
def gradient_shap(model, x):
    return _attributed("GradientShap", model, x, baselines=torch.zeros_like(x), n_samples=2)


@looks("captum: Occlusion", needs=["captum"])
def occlusion(model, x):
    with torch.no_grad():
        return _attributed("Occlusion", model, x, sliding_window_shapes=(3, 32, 32), strides=(3, 16, 16))


@looks("captum: LayerGradCam", needs=["captum"])
def layer_grad_cam(model, x):
    return _attributed("LayerGradCam", model, x, model.layer3)


@looks("captum: LayerConductance", needs=["captum"])
def conductance(model, x):
    return _attributed("LayerConductance", model, x, model.layer3, n_steps=4)


@looks("captum: NeuronGradient", needs=["captum"])
def neuron_gradient(model, x):
    import captum.attr

    method = captum.attr.NeuronGradient(without_inplace(model), model.layer3)
    return method.attribute(x.clone().requires_grad_(), lambda y: y[:, :8].sum((1, 2, 3)))


@counts("FlopCounterMode")
def flop_counter(model, x):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops()


@counts("fvcore: FlopCountAnalysis", needs=["fvcore"])
def fvcore_flops(model, x):
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return analysis.total()


@counts("torchinfo: summary", needs=["torchinfo"])
def torchinfo_summary(model, x):
    import torchinfo

    return torchinfo.summary(model, input_data=x, verbose=0).total_mult_adds


@counts("thop: profile", needs=["thop"])
def thop_profile(model, x):
    import thop

    return thop.profile(model, (x,), verbose=False)[0]


@counts("ptflops", needs=["ptflops"])
def ptflops_count(model, x):
    import ptflops

    options = {"as_strings": False, "print_per_layer_stat": False, "verbose": False, "backend": "pytorch"}
    return ptflops.get_model_complexity_info(model, tuple(x.shape[1:]), **options)[0]


@counts("torch.profiler")
def profiled(model, x):
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as found:
        model(x)
    return sum(event.flops for event in found.key_averages())


@answers("torch.fx.Interpreter with ShapeProp")
def interpreted(model, x):
    from torch.fx.passes.shape_prop import ShapeProp

    return ShapeProp(torch.fx.symbolic_trace(model)).propagate(x)


@answers("named modules and their types, by isinstance")
def walked(model, x):
    found = {name: module for name, module in model.named_modules()}
    if not any(type(module).__name__ == "BasicBlock" for module in found.values()):
        raise Silent("a block is no BasicBlock any more")
    return model(x)
