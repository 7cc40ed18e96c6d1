"""What is known to go wrong, by tool and attention, with the reason; the page says it, and tests hold the table to it."""

_CLIPPED = (
    "clipping relative to a weight's norm holds every weight that is 0 to steps of 2e-6, those that timm itself starts"
    " at 0 as well (`zero_init_last`): give attention a group without it, or use AdamW, whose steps do not shrink with the gradient"
)
_STEEP = (
    "scores of an eager start are ten times as steep, and so is what the rounding of their weights does to them: quantize"
    " networks for this with init='identity', or check the accuracy"
)
_SMALLEST = (
    "weights that are 0 are the smallest of all, and go first: prune before attention is put in, or when it has learned"
)
_UNDILATED = "peft's LoRA leaves out the dilation of a convolution, in any network"
KNOWN: dict[tuple[str, str], str] = {
    **{("timm: NativeScaler, adaptive clipping, mixup", name): _CLIPPED for name in ("cbam", "bam", "eca")},
    ("selective checkpoint policy", "timm:se"): "timm's module works in place on what the policy keeps",
    ("quantize_dynamic", "se"): _STEEP,
    ("torchao: Int8WeightOnlyConfig", "cbam"): _STEEP,
    ("torchao: Int8DynamicActivationInt8WeightConfig", "cbam"): _STEEP,
    ("fake_quantize of every weight", "cbam"): _STEEP,
    **{("prune.global_unstructured", name): _SMALLEST for name in ("cbam", "bam", "se")},
    ("peft: LoRA on every layer", "bam"): _UNDILATED,
    ("peft: DoRA", "bam"): _UNDILATED,
}
