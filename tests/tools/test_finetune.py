"""The same fine-tuning by other people's trainers: it learns, goes on where it stopped, and leaves a file."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.nn.functional import cross_entropy

import surgeon

pytestmark = [pytest.mark.tools]
# Of 1,297 images, 128 in a batch.
STEPS = 10


class PowerCut(Exception):
    pass


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["lightning", "accelerate"])
def test_it_learns_goes_on_and_leaves_a_file(library, tmp_path, monkeypatch):
    pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    script = import_module(f"finetune_{library}")
    words = script.options(["--batch", "128", "--epochs", "3", "--output", str(tmp_path)])
    taken = []

    def step(scores, labels):
        taken.append(1)
        if len(taken) == STEPS + 5:
            raise PowerCut
        return cross_entropy(scores, labels)

    monkeypatch.setattr(script, "F", SimpleNamespace(cross_entropy=step))
    with pytest.raises(PowerCut):
        script.train(words)
    assert not (tmp_path / "tuned.safetensors").exists()
    script.train(words)
    # The second epoch begins again, and the first does not.
    assert len(taken) == STEPS + 5 + 2 * STEPS
    tuned = surgeon.load(tmp_path / "tuned.safetensors")
    images, labels = surgeon.samples.digits("test")
    assert (tuned(images).argmax(1) == labels).float().mean() > 0.95
    before, after = surgeon.inject(surgeon.samples.load(), "cbam").state_dict(), tuned.state_dict()
    assert any(not before[key].equal(after[key]) for key in before if key.startswith("conv1"))
