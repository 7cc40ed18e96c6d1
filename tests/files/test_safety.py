"""Files that are hostile or damaged: one clear line, no code run, no wrong weights, in bounded time and memory."""

import json
import random
import re
import resource
import struct
import time
import zipfile

import pytest
import torch

import surgeon
from surgeon.checkpoints.checkpoint import read
from surgeon.cli import run
from surgeon.files import intake
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, tiny

pytestmark = pytest.mark.network

DAMAGES = 100


class Bomb:
    """Writes a file when it is unpickled: the trace that code was run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.fixture
def bomb(tmp_path):
    """(file, trace): a pickle that leaves `trace` behind when it is read without care."""
    torch.save({"state_dict": {"fc.weight": torch.zeros(1)}, "args": Bomb(tmp_path / "trace")}, tmp_path / "bomb.pth")
    return tmp_path / "bomb.pth", tmp_path / "trace"


def test_the_bomb_would_be_seen(bomb):
    file, trace = bomb
    torch.load(file, weights_only=False)["args"].close()
    assert trace.exists()


COMMANDS = {
    "places": ["places", "FILE", "--arch", TINY],
    "plan": ["plan", "FILE", "--arch", TINY, "--attention", "cbam"],
    "inject": ["inject", "FILE", "--arch", TINY, "--attention", "cbam", "--output", "OUT"],
    "inject --weights": ["inject", TINY, "--weights", "FILE", "--attention", "cbam", "--output", "OUT"],
    "show": ["show", "FILE"],
    "strip": ["strip", "FILE", "--output", "OUT"],
    "delta": ["delta", "FILE", "--output", "OUT"],
    "merge": ["merge", "GOOD", "FILE", "--output", "OUT"],
    "merge BASE": ["merge", "FILE", "DELTA", "--output", "OUT"],
    "export": ["export", "FILE", "--output", "OUT"],
    "verify": ["verify", "FILE"],
    "verify BASE": ["verify", "GOOD", "FILE"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_the_code_in_a_pickle(command, bomb, tmp_path, capsys):
    file, trace = bomb
    surgeon.save(tiny(), tmp_path / "good.safetensors")
    run(["delta", str(tmp_path / "good.safetensors"), "-o", str(tmp_path / "delta.safetensors"), "-q"])
    names = {
        "FILE": file,
        "GOOD": tmp_path / "good.safetensors",
        "DELTA": tmp_path / "delta.safetensors",
        "OUT": tmp_path / "out.safetensors",
    }
    assert run([str(names.get(word, word)) for word in COMMANDS[command]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "holds more than weights" in error and "--allow-pickle" in error
    assert not trace.exists() and not names["OUT"].exists()


def test_load_does_not_run_it_either(bomb, tmp_path):
    file, trace = bomb
    with pytest.raises(surgeon.SurgeonError, match="Loading it would run its code"):
        surgeon.load(file)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 4, "pretrained_cfg": {}})
    )
    file.rename(folder / "pytorch_model.bin")
    with pytest.raises(surgeon.SurgeonError, match="Loading it would run its code"):
        surgeon.load(folder)
    assert not trace.exists()


def test_a_pickled_network_needs_permission(tmp_path):
    model = tiny()
    torch.save(model, tmp_path / "whole.pt")
    with pytest.raises(surgeon.SurgeonError, match="holds more than weights"):
        surgeon.load(tmp_path / "whole.pt")
    assert_same_bits(surgeon.load(tmp_path / "whole.pt", allow_pickle=True), model)


@pytest.fixture(scope="module", params=["safetensors", "pth"])
def good(request, tmp_path_factory):
    """(a whole file of surgeon's, the network in it)."""
    model = tiny()
    path = tmp_path_factory.mktemp("good") / f"good.{request.param}"
    surgeon.save(model, path)
    return path, model


def refused_or_right(path, model):
    """Whether a damaged file was refused by surgeon; if not, its weights must be the right ones."""
    try:
        loaded = surgeon.load(path)
    except surgeon.SurgeonError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return True
    assert_same_bits(loaded, model)
    return False


def test_a_file_that_is_cut_short_anywhere_is_refused(good, tmp_path):
    path, model = good
    content, dice, refused = path.read_bytes(), random.Random(0), 0
    for length in [0, 1, 7, 8, *(dice.randrange(len(content)) for _ in range(DAMAGES))]:
        (tmp_path / path.name).write_bytes(content[:length])
        refused += refused_or_right(tmp_path / path.name, model)
    assert refused == DAMAGES + 4


def test_a_flipped_bit_never_gives_wrong_weights(good, tmp_path):
    path, model = good
    content, dice, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(DAMAGES):
        damaged, place = bytearray(content), dice.randrange(len(content))
        damaged[place] ^= 1 << dice.randrange(8)
        (tmp_path / path.name).write_bytes(damaged)
        refused += refused_or_right(tmp_path / path.name, model)
    # Some bits mean nothing: padding, time stamps in a zip archive, checksums that torch does not read.
    assert refused > DAMAGES * 0.9


def test_a_flipped_bit_in_the_recipe_is_found(tmp_path):
    surgeon.save(tiny(), tmp_path / "good.safetensors")
    content = (tmp_path / "good.safetensors").read_bytes()
    place = content.index(b"residual")
    (tmp_path / "bad.safetensors").write_bytes(content[:place] + b"resXdual" + content[place + 8 :])
    with pytest.raises(surgeon.SurgeonError, match="its recipe is not the one that was saved"):
        surgeon.load(tmp_path / "bad.safetensors")


def header(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


STRANGE = {
    "empty.safetensors": b"",
    "empty.pth": b"",
    "empty.pt2": b"",
    "text.pth": b"hello",
    "text.safetensors": b"hello, I am a file",
    "huge_header.safetensors": struct.pack("<Q", 50 * 1000**3) + b"{}",
    "negative.safetensors": struct.pack("<q", -1) + b"{}",
    "not_utf8.safetensors": header(b'{"__metadata__":{"surgeon":"\xff\xfe"}}'),
    "nested.safetensors": header('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "nested_metadata.safetensors": header('{"__metadata__":' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}"),
    "list.safetensors": header("[]"),
    "overlap.safetensors": header(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    + b"\0" * 4,
    "wrong_size.safetensors": header('{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}') + b"\0" * 4,
    "safetensors_inside.pth": header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
    "picture.png": b"\x89PNG",
    "no_ending": b"abc",
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_file_is_refused_soon_and_cheaply(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(STRANGE[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for arguments in (["show", name], ["places", name, "--arch", TINY]):
        assert run([str(tmp_path / word) if word == name else word for word in arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("surgeon: ") and error.count("\n") == 1 and name in error
    assert time.monotonic() - start < 20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200


@pytest.mark.parametrize("name", ["zip.pth", "zip.pt2"])
def test_a_zip_that_is_no_checkpoint_is_refused(name, tmp_path, capfd):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(surgeon.SurgeonError, match="is no whole"):
        surgeon.load(tmp_path / name)
    with pytest.raises(surgeon.SurgeonError, match="is no whole"):
        surgeon.load(tmp_path / name, allow_pickle=True)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"architecture": "no_such"}',
        '{"architecture": "test_resnet", "pretrained_cfg": []}',
        "\ud800",
    ],
)
def test_a_folder_whose_config_means_nothing_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(surgeon.SurgeonError) as caught:
        surgeon.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_folders_and_missing_files_are_refused(tmp_path):
    with pytest.raises(surgeon.SurgeonError, match="is a folder without a config.json"):
        surgeon.load(tmp_path)
    with pytest.raises(surgeon.SurgeonError, match="there is no file"):
        surgeon.load(tmp_path / "nowhere.safetensors")


def test_what_parsers_and_metrics_leave_in_checkpoints_is_no_danger(tmp_path):
    import argparse
    import pathlib

    import numpy

    model = tiny(None)
    torch.save(
        {
            "args": argparse.Namespace(model="test_resnet", output=pathlib.Path("a")),
            "best": numpy.float64(0.5),
            "state_dict": model.state_dict(),
        },
        tmp_path / "in.pth",
    )
    assert_same_bits(intake.open_source(tmp_path / "in.pth").model, model)


@pytest.mark.parametrize("home", [b"core", b"_core"])
def test_numbers_of_either_numpy_are_no_danger(home, tmp_path):
    """numpy 1 wrote `numpy.core.multiarray`, numpy 2 writes `numpy._core.multiarray`."""
    import numpy

    torch.save(
        {"state_dict": {"a.weight": torch.ones(1)}, "best": numpy.float64(0.5), "curve": numpy.ones(2)},
        tmp_path / "in.pth",
    )
    with zipfile.ZipFile(tmp_path / "in.pth") as before, zipfile.ZipFile(tmp_path / "out.pth", "w") as after:
        for name in before.namelist():
            after.writestr(name, re.sub(rb"cnumpy\._?core\.", b"cnumpy." + home + b".", before.read(name)))
    whole = read(tmp_path / "out.pth").whole
    assert whole["best"] == 0.5 and whole["curve"].tolist() == [1, 1]
