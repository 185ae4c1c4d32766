import enum
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ordinate.adapt.pickled_checkpoint import convert_pickle, read_pickled_state
from ordinate.ground.errors import InputError
from ordinate.models.registry import read_state


class Mode(enum.Enum):
    BICUBIC = "bicubic"


class Preprocess:
    def __init__(self, mean: tuple[float, ...]) -> None:
        self.mean, self.mode, self.size = mean, Mode.BICUBIC, torch.Size((3, 4))


class Encoder(nn.Module):
    """A module with whatever modules carry around: enums, plain objects, shared and hidden buffers, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"visual": nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), "attn": nn.MultiheadAttention(8, 2)})
        self.scale = nn.Parameter(torch.ones([], dtype=torch.float16))
        self.register_buffer("mask", torch.ones(2), persistent=False)
        self.preprocess = Preprocess((0.5, 0.5))
        self.cache: dict[str, set[int]] = {"seen": {1, 2}}


class Evil:
    def __init__(self, run: Callable[..., object], argument: str) -> None:
        self.run, self.argument = run, argument

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return self.run, (self.argument,)


def test_a_pickled_module_gives_its_state_dict(tmp_path: Path) -> None:
    encoder = Encoder()
    torch.save(encoder, tmp_path / "whole.pt")
    state = convert_pickle(tmp_path / "whole.pt", tmp_path / "plain.safetensors")
    assert state.keys() == encoder.state_dict().keys()
    for name, entry in read_state(tmp_path / "plain.safetensors").items():
        assert torch.equal(entry, encoder.state_dict()[name]) and entry.dtype == encoder.state_dict()[name].dtype


def test_a_pickled_dictionary_gives_its_tensors(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "epoch": 3}, tmp_path / "plain.pt")
    assert torch.equal(read_pickled_state(tmp_path / "plain.pt")["w"], torch.ones(2))


def test_nothing_that_a_file_asks_for_is_run(tmp_path: Path) -> None:
    encoder = nn.Linear(2, 2)
    for number, run in enumerate((os.system, os.mkdir, eval)):
        argument = (
            f"__import__('os').mkdir('{tmp_path}/{number}')"
            if run is eval
            else f"mkdir {tmp_path}/{number}"
            if run is os.system
            else f"{tmp_path}/{number}"
        )
        encoder.extra = Evil(run, argument)  # type: ignore[assignment]
        torch.save(encoder, tmp_path / f"evil{number}.pt")
        assert set(read_pickled_state(tmp_path / f"evil{number}.pt")) == {"weight", "bias"}
        assert not (tmp_path / str(number)).exists()
    os.mkdir(tmp_path / "by hand")  # noqa: PTH102 - the same call does make a folder where it is run


def test_files_that_hold_no_weights_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"w": 1}))
    torch.save([1, 2], tmp_path / "list.pt")
    whole = (tmp_path / "list.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for name, words in (
        ("none.pt", "no such file"),
        ("text.pt", "no archive"),
        ("old.pt", "no archive"),
        ("cut.pt", "no archive"),
        ("list.pt", "no weights"),
    ):
        with pytest.raises(InputError, match=words):
            read_pickled_state(tmp_path / name)
    torch.save(nn.Linear(2, 2), tmp_path / "good.pt")
    with pytest.raises(InputError, match=r"written to a \.safetensors file"):
        convert_pickle(tmp_path / "good.pt", tmp_path / "out.pt")
