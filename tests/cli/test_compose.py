"""`ordinate compose` and `ordinate convert`, as a user calls them."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from ordinate.models.registry import create_model, load_model, save_model
from ordinate.tasks.training_run import load_run
from tests.cli.call import ordinate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base run on digits, and two folders of models that differ from it a little."""
    folder = tmp_path_factory.mktemp("runs")
    done = ordinate(
        "train", "mlp", "--data", "digits", "--steps", 40, "--set", "hidden=[16]", "--set", "num_features=8", "-o", folder / "base", "-q"
    )
    assert done.status == 0, done.err
    base = load_run(folder / "base").model
    torch.manual_seed(0)
    for name in ("first", "second"):
        tuned = deepcopy(base)
        for parameter in tuned.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        save_model(tuned, folder / name)
    return folder


def test_vectors_are_added_into_a_run_that_others_read(runs: Path, tmp_path: Path) -> None:
    done = ordinate("compose", runs / "base", runs / "first", runs / "second", "--coefficients", "0.5,-1", "-o", tmp_path / "sum", "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["composed"]["coefficients"] == [0.5, -1.0] and told["similarity"][0][0] == pytest.approx(1)
    base, first, second, found = (
        load_run(path).model.state_dict() if (path / "run.json").exists() else load_model(path).state_dict()
        for path in (runs / "base", runs / "first", runs / "second", tmp_path / "sum")
    )
    for name, entry in found.items():
        torch.testing.assert_close(entry, base[name] + 0.5 * (first[name] - base[name]) - (second[name] - base[name]), atol=1e-5, rtol=1e-5)
    assert load_run(tmp_path / "sum").card["task"] == load_run(runs / "base").card["task"]
    done = ordinate("embed", tmp_path / "sum", "digits", "-o", tmp_path / "embedded.npy", "-q")
    assert done.status == 0, done.err


def test_coefficients_are_learned_on_images(runs: Path, tmp_path: Path) -> None:
    done = ordinate("compose", runs / "base", runs / "first", "--data", "digits", "--shots", 2, "--epochs", 1, "-o", tmp_path / "new")
    assert done.status == 0, done.err
    assert "blocks" in done.out and "base accuracy" in done.out
    result = json.loads((tmp_path / "new" / "result.json").read_text())
    assert {"accuracy", "base accuracy", "check accuracy"} <= result.keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--coefficients", "1,2,3"), "one for each of the 2 fine-tuned runs"),
        (("--coefficients", "much"), "numbers with commas"),
        (("--coefficients", "nan"), "one finite coefficient"),
        (("--coefficients", "1", "--data", "digits"), "not both"),
        (("--shots", "2"), "belong to learning"),
        (("--data", "digits", "--granularity", "layer"), "unknown granularity"),
        (("--data", "cifar11"), "cifar1"),
    ],
)
def test_bad_usage_is_one_line(runs: Path, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = ordinate("compose", runs / "base", runs / "first", runs / "second", *options, "-o", tmp_path / "out")
    assert done.status == 2 and words in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "out").exists()


def test_other_architectures_and_folders_are_one_line(runs: Path, tmp_path: Path) -> None:
    save_model(create_model("mlp", image_size=8, hidden=[12], num_features=8), tmp_path / "other")
    for tuned, words in ((tmp_path / "other", "different architectures"), (tmp_path / "none", "no such"), (runs / "base", "at least")):
        given = (runs / "base", tuned) if tuned != runs / "base" else (runs / "base", runs / "first", runs / "first")
        done = ordinate("compose", *given, "-o", tmp_path / "out")
        assert done.status == 2 and done.err.count("\n") == 1, done.err
        assert words in done.err or "named twice" in done.err
    done = ordinate("compose", runs / "base", runs / "first", "-o", runs / "first")
    assert done.status == 2 and "exists already" in done.err


def test_a_pickled_module_becomes_plain_weights(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "whole.pt")
    done = ordinate("convert", tmp_path / "whole.pt", "-o", tmp_path / "plain.safetensors", "--json")
    assert done.status == 0 and json.loads(done.out)["tensors"] == {"bias": [3], "weight": [3, 2]}
    done = ordinate("convert", tmp_path / "whole.pt", "-o", tmp_path / "plain.safetensors")
    assert done.status == 2 and "exists already" in done.err
    done = ordinate("convert", tmp_path / "none.pt", "-o", tmp_path / "more.safetensors")
    assert done.status == 2 and "no such file" in done.err
