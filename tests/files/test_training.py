"""Real handwriting: converted at each place without a loss, and training that goes on from where it was."""

import digits
import pytest
import torch
import torchvision

import surgeon
from surgeon.checkpoints import optimizer as optimizers
from surgeon.cli import run
from surgeon.errors import BadFile
from tests.shared.bits import assert_same_bits

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def images():
    return digits.digits()


def test_the_example_keeps_the_accuracy_to_the_digit_and_prints_the_papers_drop(images, tmp_path, capsys, monkeypatch):
    # A quarter of the pixels is enough to read a digit by.
    monkeypatch.setattr(digits, "digits", lambda: [part[..., ::2, ::2] if part.ndim == 4 else part for part in images])
    before = digits.main(tmp_path)
    assert before > 0.85
    lines = [line for line in capsys.readouterr().out.splitlines() if "identity" in line or "paper" in line]
    assert len(lines) == 8
    assert all(line.split()[-1] == f"{before:.4f}" for line in lines if "identity" in line)
    assert any("(-" in line for line in lines if "paper" in line)


KINDS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-4),
    "adamw, two groups": lambda model: torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
        ],
        lr=1e-4,
    ),
    "sgd, named": lambda model: torch.optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9),
}


KINDS["sgd, three groups"] = lambda model: torch.optim.SGD(three_groups(model), lr=0.01, momentum=0.9)


def three_groups(model):
    """As torchvision's references split them: all else, norms without their biases, biases; each with its decay."""
    groups = {"other": [], "norm": [], "bias": []}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            kind = "norm" if isinstance(module, torch.nn.BatchNorm2d) else "other"
            groups["bias" if name == "bias" else kind].append(weight)
    return [{"params": weights, "weight_decay": decay} for weights, decay in zip(groups.values(), (1e-4, 0.0, 1e-5))]


@pytest.mark.parametrize("kind", KINDS)
def test_training_resumes_with_its_optimizer_at_identity_exactly(kind, images, tmp_path):
    train, _, labels, _ = images
    train, labels = train[:128], labels[:128]
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    optimizer = KINDS[kind](model)
    digits.epoch(model, optimizer, train, labels, 0)
    torch.save(
        {"epoch": 1, "arch": "resnet18", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()},
        tmp_path / "in.pth",
    )
    assert (
        run(
            [
                "inject",
                str(tmp_path / "in.pth"),
                "--attention",
                "cbam",
                "--where",
                "residual",
                "-o",
                str(tmp_path / "out.pth"),
                "-q",
            ]
        )
        == 0
    )

    found = torch.load(tmp_path / "out.pth", weights_only=True)
    resumed = surgeon.inject(torchvision.models.resnet18(num_classes=10), "cbam", where="residual")
    resumed.load_state_dict(found["state_dict"])
    again = KINDS[kind](resumed)
    again.load_state_dict(found["optimizer"])
    old = dict(model.named_parameters())
    for name, weight in resumed.named_parameters():
        momenta = again.state[weight]
        assert bool(momenta) == (name in old)
        if name in old:
            assert_same_bits(momenta, optimizer.state[old[name]])
    losses = [torch.nn.functional.cross_entropy(net.train()(train[:32]), labels[:32]) for net in (model, resumed)]
    assert torch.equal(*losses)
    # One step further the old weights have moved alike: the attention lets all pass until the step, and its gradient is not theirs.
    for net, steps, loss in ((model, optimizer, losses[0]), (resumed, again, losses[1])):
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert_same_bits({name: weight for name, weight in resumed.named_parameters() if name in old}, old)
    assert digits.epoch(resumed, again, train, labels, 1) < losses[0].item() * 1.5


def test_an_optimizer_that_can_not_be_mapped_is_refused_or_left_out(tmp_path, capsys):
    model = torchvision.models.resnet18(num_classes=10)
    weights = list(model.parameters())
    state = torch.optim.SGD(
        [{"params": weights[:7]}, {"params": weights[7:20]}, {"params": weights[20:]}], lr=0.1
    ).state_dict()
    torch.save({"arch": "resnet18", "state_dict": model.state_dict(), "optimizer": state}, tmp_path / "in.pth")
    arguments = ["inject", str(tmp_path / "in.pth"), "--attention", "cbam", "-o", str(tmp_path / "out.pth"), "-q"]
    assert run(arguments) == 2
    assert (
        "the optimizer's 3 groups (7, 13, 42 parameters) are no split of the network's 62 that surgeon knows. --drop-optimizer"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out.pth").exists()
    assert run([*arguments, "--drop-optimizer"]) == 0
    assert "optimizer" not in torch.load(tmp_path / "out.pth", weights_only=True)


def test_shrinking_undoes_extending():
    model = surgeon.inject(torchvision.models.resnet18(num_classes=10), "cbam")
    new = set(surgeon.attention_parameters(model))
    state = {
        "state": {index: {"step": index} for index in range(62)},
        "param_groups": [{"lr": 0.1, "params": list(range(62))}],
    }
    extended = optimizers.extend(state, model, new)
    assert len(extended["param_groups"][0]["params"]) == 62 + len(new) and len(extended["state"]) == 62
    assert optimizers.shrink(extended, model, new) == state


def test_momenta_of_other_shapes_are_refused():
    model = surgeon.inject(torchvision.models.resnet18(num_classes=10), "cbam")
    state = {"state": {0: {"momentum_buffer": torch.zeros(1, 2, 3, 4)}}, "param_groups": [{"params": list(range(62))}]}
    with pytest.raises(BadFile, match="are no split of the network's 62"):
        optimizers.extend(state, model, set(surgeon.attention_parameters(model)))
