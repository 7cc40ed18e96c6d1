"""A log of gates over training: what it says is so, in a CSV and for TensorBoard, and it costs no other step anything."""

import csv

import pytest
import torch

import surgeon
from surgeon.attention.opened import opened
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.surgery.operations import settings_of
from tests.shared import toy


@pytest.fixture
def model():
    return surgeon.inject(toy.Net(), "cbam", where=["residual", "final"], init="identity", example_inputs=toy.image())


def train(model, steps, log=None, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = log or surgeon.GateLog(model, **options)
    for _ in range(steps):
        model(toy.image()).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        log.step()
    return log


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_row_for_each_gate_and_every_so_many_steps(model, tmp_path):
    train(model, 7, to=tmp_path / "gates.csv", every=3)
    found = rows(tmp_path / "gates.csv")
    assert [(row["step"], row["gate"]) for row in found] == [
        (step, gate) for step in ("3", "6") for gate in ("block.cbam", "down.cbam")
    ]


def test_what_it_says_is_so(model, tmp_path):
    with surgeon.record(model):
        pass
    train(model, 3, to=tmp_path / "gates.csv", every=4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(before)
    with surgeon.record(model) as maps:
        model(toy.image())
    log = surgeon.GateLog(model, tmp_path / "one.csv", every=1)
    model.load_state_dict(before)
    model(toy.image())
    log.step()
    for row in rows(tmp_path / "one.csv"):
        scores, gate = maps[row["gate"]], model.get_submodule(row["gate"])
        assert float(row["opened"]) == opened(model)[row["gate"]] > 0
        assert float(row["channel_mean"]) == float(scores["channel"][0].mean())
        assert float(row["spatial_spread"]) == float(scores["spatial"][0].std(correction=0))
        gammas = torch.cat([w.detach() for name, w in gate.named_parameters() if name.endswith("gamma")])
        assert float(row["gamma"]) == float(gammas.mean())


def test_only_the_step_that_is_written_is_recorded(model, tmp_path):
    gates = surgeon.attention_modules(model).values()
    log = surgeon.GateLog(model, tmp_path / "gates.csv", every=2)
    recorded = []
    for _ in range(4):
        recorded.append(all(gate.maps is not None for gate in gates))
        model(toy.image())
        log.step()
    assert recorded == [False, True, False, True]


def test_two_logs_and_a_recording_do_not_disturb_each_other(model, tmp_path):
    with surgeon.record(model) as maps:
        logs = [surgeon.GateLog(model, tmp_path / name, every=every) for name, every in (("a.csv", 1), ("b.csv", 2))]
        for step in range(4):
            model(toy.image() + step)
            for log in logs:
                log.step()
    scores = maps["block.cbam"]["spatial"]
    assert len(scores) == 4
    for name, steps in (("a.csv", (1, 2, 3, 4)), ("b.csv", (2, 4))):
        found = [row for row in rows(tmp_path / name) if row["gate"] == "block.cbam"]
        assert [float(row["spatial_mean"]) for row in found] == [float(scores[step - 1].mean()) for step in steps]


def test_two_logs_alone(model, tmp_path):
    logs = [surgeon.GateLog(model, tmp_path / name, every=2) for name in ("a.csv", "b.csv")]
    for _ in range(4):
        model(toy.image())
        for log in logs:
            log.step()
    assert rows(tmp_path / "a.csv") == rows(tmp_path / "b.csv") and rows(tmp_path / "a.csv")[0]["channel_mean"]
    assert all(gate.maps is None for gate in surgeon.attention_modules(model).values())


def test_training_is_the_same_with_it(tmp_path):
    states = []
    for options in ({"every": 1}, {"every": 1000}):
        torch.manual_seed(0)
        model = surgeon.inject(toy.Net(), "cbam", example_inputs=toy.image())
        train(model, 3, to=tmp_path / f"{options['every']}.csv", **options)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_loop_of_somebody_elses(model, tmp_path):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    surgeon.GateLog(model, tmp_path / "gates.csv", every=2, optimizer=optimizer)
    for _ in range(4):
        model(toy.image()).square().mean().backward()
        optimizer.step()
    assert [row["step"] for row in rows(tmp_path / "gates.csv")] == ["2", "2", "4", "4"]


class Board:
    """What TensorBoard's writer is asked."""

    def __init__(self):
        self.numbers = {}

    def add_scalar(self, tag, scalar_value, global_step):
        self.numbers[tag, global_step] = scalar_value


def test_a_board(model):
    board = Board()
    train(model, 2, to=board, every=2)
    assert len(board.numbers) == 2 * 6 and board.numbers["block.cbam/channel_mean", 2] > 0
    assert board.numbers["block.cbam/opened", 2] == opened(model)["block.cbam"]


def test_training_goes_on_in_the_same_file(model, tmp_path):
    for _ in range(2):
        train(model, 2, to=tmp_path / "gates.csv", every=2)
    assert len(rows(tmp_path / "gates.csv")) == 4


def test_a_gate_without_gamma_leaves_it_out(tmp_path):
    model = surgeon.inject(toy.Net(), "se", example_inputs=toy.image())
    train(model, 1, to=tmp_path / "gates.csv", every=1)
    (row,) = rows(tmp_path / "gates.csv")
    assert row["gamma"] == row["spatial_mean"] == "" and float(row["channel_mean"]) == 1


def test_what_it_refuses(model, tmp_path):
    with pytest.raises(BadModel, match="no attention here to log"):
        surgeon.GateLog(toy.Net(), tmp_path / "gates.csv")
    with pytest.raises(BadOption, match="every"):
        surgeon.GateLog(model, tmp_path / "gates.csv", every=0)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadFile, match="other.csv is there and is no log of gates: it begins with 'a,b'"):
        surgeon.GateLog(model, tmp_path / "other.csv")
    with pytest.raises(BadFile, match="can't be written: No such file or directory"):
        surgeon.GateLog(model, tmp_path / "nowhere" / "gates.csv")
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def test_a_network_is_saved_between_two_steps_as_ever(model, tmp_path):
    log = surgeon.GateLog(model, tmp_path / "gates.csv", every=1)
    model(toy.image())
    assert settings_of(model) == {}
    log.step()
    assert settings_of(model) == {}
