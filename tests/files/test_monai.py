"""MONAI's networks of volumes, whose sides nobody guesses: into files and out of them, by an example in words."""

import pytest
import torch

import surgeon
from surgeon.cli import run
from surgeon.trace.noise import resolved
from tests.shared import client_networks
from tests.shared.bits import assert_same_bits

pytestmark = [pytest.mark.clients]

pytest.importorskip("monai", reason="monai is not installed: pip install -e '.[test,test-clients]'")

EXAMPLES = {"segresnet": "1x2x16x16x24", "monai_unet": "1x1x16x24x16"}


def tensors(answer):
    leaves = torch.utils._pytree.tree_leaves(answer.to_tuple() if hasattr(answer, "to_tuple") else answer)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


@torch.no_grad()
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_comes_back_and_is_verified(name, tmp_path):
    model, base = getattr(client_networks, name)(), f"tests.shared.client_networks:{name}"
    args, kwargs = resolved(EXAMPLES[name], model)
    expected = tensors(model(*args, **kwargs))
    surgeon.inject(model, "cbam", reduction=4, example_inputs=EXAMPLES[name])
    surgeon.save(model, tmp_path / "a.safetensors", base=base)
    again = surgeon.load(tmp_path / "a.safetensors", allow_imports=True)
    assert_same_bits(model, again)
    found = tensors(again(*args, **kwargs))
    assert len(expected) == len(found) and all(map(torch.equal, expected, found))
    assert run(["verify", str(tmp_path / "a.safetensors"), "--allow-imports", "-q"]) == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_makes_the_same_file(name, tmp_path):
    base, file = f"tests.shared.client_networks:{name}", str(tmp_path / "a.safetensors")
    words = ["--attention", "cbam", "--set", "reduction=4", "--example", EXAMPLES[name]]
    assert run(["inject", base, *words, "-o", file, "-q"]) == run(["verify", file, "--allow-imports", "-q"]) == 0
