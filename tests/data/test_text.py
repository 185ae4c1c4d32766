from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.text import TextData, Windows, open_text
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs


def _file(folder: Path, text: str, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_is_its_numbers(tmp_path: Path) -> None:
    text = "Ünïcödé and 🙂, twice 🙂.\r\n" * 8
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    data = open_text(path)
    assert data.decode(torch.cat([data.train, data.valid])) == text
    assert data.vocabulary == sorted(set(text)) and data.unit == "characters"
    assert len(data.train) == len(text) * 9 // 10
    assert data.decode(data.encode("twice 🙂")) == "twice 🙂"


def test_bytes_read_anything(tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(bytes(range(256)))
    data = open_text(path, unit="bytes")
    assert torch.cat([data.train, data.valid]).tolist() == list(range(256)) and len(data.vocabulary) == 256
    assert data.decode(data.encode("é🙂")) == "é🙂" and len(data.encode("é")) == 2 and len(data.encode("")) == 0
    assert data.decode(torch.tensor([0xFF])) == "�"


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"abc " * 50)
    assert open_text(path).vocabulary == [" ", "a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"too short", "only 9 characters"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 200, "not UTF-8 text"),
        (b"text" * 50 + b"\x00", "binary file"),
    ],
)
def test_files_that_are_no_texts(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_text(path)


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_text(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="is a folder"):
        open_text(tmp_path)
    with pytest.raises(InputError, match="did you mean tinyshakespeare"):
        open_text("tinyshakespear")
    with pytest.raises(InputError, match="unknown unit of text"):
        open_text(_file(tmp_path, "a" * 200), unit="words")
    monkeypatch.setenv("ORDINATE_DATA", str(tmp_path))
    with pytest.raises(MissingError, match="ordinate data get tinyshakespeare"):
        open_text("tinyshakespeare")


def test_numbers_and_characters_outside_the_vocabulary() -> None:
    data = TextData("abc", torch.tensor([0, 1]), torch.tensor([2]), ["a", "b", "c"])
    with pytest.raises(InputError, match="has no 'x', 'y'"):
        data.encode("axy")
    with pytest.raises(InputError, match=r"lie in 0\.\.2"):
        data.decode(torch.tensor([3]))


@given(size=st.integers(2, 60), length=st.integers(1, 20), stride=st.integers(1, 20))
def test_windows_are_stretches_and_what_comes_next(size: int, length: int, stride: int) -> None:
    ids = torch.arange(size)
    if size <= length:
        with pytest.raises(InputError, match="choose a smaller length"):
            Windows(ids, length, stride)
        return
    windows = Windows(ids, length, stride)
    batch = windows.take(torch.arange(len(windows)))
    assert torch.equal(batch["target"], batch["input"] + 1)
    assert batch["input"][:, 0].tolist() == list(range(0, size - length, stride))
    assert batch["input"].shape == (len(windows), length)
    with pytest.raises(IndexError):
        windows.take(torch.tensor([len(windows)]))


@needs("tinyshakespeare")
def test_tiny_shakespeare() -> None:
    data = open_text("tinyshakespeare")
    assert len(data.vocabulary) == 65 and len(data.train) + len(data.valid) == 1_115_394
    assert data.decode(data.train[:13]) == "First Citizen"
