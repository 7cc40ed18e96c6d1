"""Adapters by peft: put on every layer, trained, merged."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.afterwards.registry import Silent, acts


def _layers(model, kinds):
    """Paths of the layers that an adapter goes on."""
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


def _adapted(model, x, config):
    """The answers of the network with trained adapters, merged into it."""
    from peft import get_peft_model

    adapted = get_peft_model(model, config).train()
    learned = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    before = {name: weight.detach().clone() for name, weight in learned.items()}
    optimizer = torch.optim.AdamW(learned.values(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(adapted(x), torch.arange(4)).backward()
        optimizer.step()
    still = [name for name, weight in learned.items() if torch.equal(weight, before[name])]
    if still:
        raise Silent(f"{len(still)} of {len(learned)} adapters do not move, first {still[0]!r}")
    adapted.eval()
    want = adapted(x)
    merged = adapted.merge_and_unload()(x)
    if not torch.allclose(merged, want, rtol=1e-3, atol=1e-3 * want.abs().max().item()):
        raise Silent(f"merging moves the answers by {((merged - want).norm() / want.norm()).item():.0e}")
    return merged


@acts("peft: LoRA on every layer", needs=["peft"])
def lora(model, x):
    from peft import LoraConfig

    return _adapted(model, x, LoraConfig(r=4, target_modules=_layers(model, nn.Linear | nn.Conv2d)))


@acts("peft: LoRA on linear layers", needs=["peft"])
def lora_linear(model, x):
    from peft import LoraConfig

    return _adapted(model, x, LoraConfig(r=4, target_modules=_layers(model, nn.Linear)))


@acts("peft: LoRA on the head, attention as modules_to_save", needs=["peft"])
def lora_head(model, x):
    from peft import LoraConfig

    import surgeon

    gates = list(surgeon.attention_modules(model))
    return _adapted(model, x, LoraConfig(r=4, target_modules=["fc"], modules_to_save=gates or None))


@acts("peft: DoRA", needs=["peft"])
def dora(model, x):
    from peft import LoraConfig

    return _adapted(model, x, LoraConfig(r=4, use_dora=True, target_modules=_layers(model, nn.Linear | nn.Conv2d)))


@acts("peft: IA3", needs=["peft"])
def ia3(model, x):
    from peft import IA3Config

    paths = _layers(model, nn.Linear | nn.Conv2d)
    return _adapted(model, x, IA3Config(target_modules=paths, feedforward_modules=[]))


@acts("peft: LoHa", needs=["peft"])
def loha(model, x):
    from peft import LoHaConfig

    return _adapted(model, x, LoHaConfig(r=4, target_modules=_layers(model, nn.Linear | nn.Conv2d)))


@acts("peft: LoKr", needs=["peft"])
def lokr(model, x):
    from peft import LoKrConfig

    return _adapted(model, x, LoKrConfig(r=4, target_modules=_layers(model, nn.Linear | nn.Conv2d)))


@acts("peft: OFT", needs=["peft"])
def oft(model, x):
    from peft import OFTConfig

    return _adapted(model, x, OFTConfig(r=1, oft_block_size=0, target_modules=_layers(model, nn.Linear)))


@acts("peft: BOFT", needs=["peft"])
def boft(model, x):
    from peft import BOFTConfig

    config = BOFTConfig(boft_block_size=2, boft_block_num=0, target_modules=_layers(model, nn.Linear))
    return _adapted(model, x, config)
