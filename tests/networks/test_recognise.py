"""Checkpoints that say strange things of themselves."""

import pytest
import torch

import surgeon
from surgeon.errors import BadFile, BadOption
from surgeon.files import intake
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network


def saved(tmp_path, **entries):
    torch.save(entries, tmp_path / "in.pth")
    return tmp_path / "in.pth"


@pytest.mark.parametrize("name", ["evil:boom", "resnet50.evil:boom", "resnet50:boom"])
def test_a_files_own_words_import_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in ("evil.py", "resnet50/evil.py"):
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).write_text("open('ran', 'w').close()\n")
    with pytest.raises(BadOption, match="does not say which network it is for"):
        surgeon.load(saved(tmp_path, arch=name, state_dict=tiny(None).state_dict()))
    assert not (tmp_path / "ran").exists()


def test_a_number_among_the_tensors_is_passed_over(tmp_path):
    model = tiny(None)
    file = saved(tmp_path, arch="test_resnet", state_dict={**model.state_dict(), "step": 5})
    assert_same_bits(intake.open_source(file).model, model)


def test_a_tensor_that_lost_its_shape_is_refused(tmp_path):
    weights = {**tiny(None, classes=1000).state_dict(), "fc.bias": torch.tensor(1.0)}
    with pytest.raises(BadFile, match="'fc.bias' should be"):
        intake.open_source(saved(tmp_path, state_dict=weights), arch=TINY)


def test_an_average_may_lie_in_a_wrapper(tmp_path):
    model, average = tiny(None, seed=1), tiny(None, seed=2)
    file = saved(tmp_path, arch="test_resnet", model=model.state_dict(), model_ema={"module": average.state_dict()})
    assert_same_bits(intake.open_source(file).model, model)
    assert_same_bits(intake.open_source(file, ema=True).model, average)
