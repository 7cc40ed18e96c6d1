"""Statistics of batch norms, measured anew."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import surgeon
from surgeon.errors import BadInput, BadModel

pytestmark = pytest.mark.fast


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_statistics_are_means_over_all_batches_as_eval_mode_makes_them():
    model, images = network().train(), torch.randn(3, 8, 3, 6, 6)
    assert surgeon.recalibrate(model, images) is model
    first = torch.stack([model[0](batch) for batch in images])
    torch.testing.assert_close(model[1].running_mean, first.mean((0, 1, 3, 4)))
    # The second norm sees what the first makes of its batch; the dropout between them lets everything pass.
    normalized = [nn.functional.batch_norm(x, None, None, training=True) for x in first]
    second = torch.stack([model[3](x) for x in normalized])
    torch.testing.assert_close(model[4].running_mean, second.mean((0, 1, 3, 4)))


def test_modes_momenta_and_weights_are_as_they_were():
    model = network().train()
    model[1].eval().momentum = 0.3
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    surgeon.recalibrate(model, [torch.randn(8, 3, 6, 6)])
    assert [module.training for module in model] == [True, False, True, True, True]
    assert model[1].momentum == 0.3 and model[4].momentum == 0.1
    assert all(torch.equal(weight, weights[name]) for name, weight in model.named_parameters())


def test_batches_of_a_loader_and_of_keywords():
    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, pixels, flag=None):
            return self.inner(pixels)

    images, model = torch.randn(8, 3, 6, 6), Keywords()
    surgeon.recalibrate(model, [{"pixels": images, "flag": "x"}])
    other = Keywords()
    other.load_state_dict(model.state_dict())
    surgeon.recalibrate(other.inner, DataLoader(TensorDataset(images, torch.zeros(8)), batch_size=8))
    torch.testing.assert_close(state(other), state(model))


def test_a_published_start_gets_closer_to_the_network_as_it_was():
    torch.manual_seed(0)
    model, images = (
        nn.Sequential(nn.Conv2d(3, 4, 3), network()[1], nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        torch.randn(64, 3, 8, 8),
    )
    surgeon.recalibrate(model, [images])
    before = model.eval()(images)
    surgeon.inject(model, "se", where="2", init="paper", reduction=1, example_inputs=images[:2])
    stale = (model(images) - before).square().mean()
    surgeon.recalibrate(model, [images])
    assert (model(images) - before).square().mean() < 0.1 * stale


@pytest.mark.parametrize(
    ("batches", "error"), [([], BadInput), ([torch.randn(4, 3, 6, 6), torch.randn(4, 5, 6, 6)], RuntimeError)]
)
def test_what_fails_leaves_all_as_it_was(batches, error):
    model = network()
    surgeon.recalibrate(model, [torch.randn(4, 3, 6, 6)])
    before = state(model)
    with pytest.raises(error):
        surgeon.recalibrate(model, batches)
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    assert all(module.training for module in model) and model[1].momentum == 0.1


def test_a_network_without_statistics():
    with pytest.raises(BadModel, match="has no batch norm with statistics"):
        surgeon.recalibrate(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)), [])
