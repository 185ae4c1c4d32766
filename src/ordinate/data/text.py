"""A text as numbers: characters (or bytes) by their place in the text's own vocabulary, its last tenth kept to validate on.

Named: ``tinyshakespeare``. By path: any text file in UTF-8. The vocabulary is that of the whole text, sorted, so that every validation character has a number.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source
from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose

__all__ = ["NAMED_TEXTS", "TextData", "Windows", "open_text"]

NAMED_TEXTS = {"tinyshakespeare": "input.txt"}
"""Texts that :func:`open_text` knows by name, and the file of each."""
_LEAST = 100  # units: below that there is nothing to learn from and nothing to validate on


@dataclass(frozen=True)
class TextData:
    """A text as numbers.

    Attributes:
        name: as it was asked for.
        train, valid: (N,) int64, the first nine tenths of the text and the rest.
        vocabulary: what each number stands for: characters, or the 256 bytes (each as the character of that number).
        unit: ``"characters"`` or ``"bytes"``.
    """

    name: str
    train: Int64[Tensor, " train"]
    valid: Int64[Tensor, " valid"]
    vocabulary: list[str]
    unit: str = "characters"

    def encode(self, text: str) -> Int64[Tensor, " length"]:
        """The numbers of `text`.

        Raises:
            InputError: a character is not in the vocabulary.
        """
        if self.unit == "bytes":
            return _bytes_of(text.encode("utf-8"))
        number = {character: place for place, character in enumerate(self.vocabulary)}
        unknown = sorted(set(text) - number.keys())
        if unknown:
            raise InputError(f"the vocabulary of {self.name} has no {', '.join(map(repr, unknown[:5]))}")
        return torch.tensor([number[character] for character in text], dtype=torch.int64)

    def decode(self, ids: Int64[Tensor, " length"]) -> str:
        """The text of some numbers; bytes that are not UTF-8 become �.

        Raises:
            InputError: a number is not in the vocabulary.
        """
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.vocabulary):
            raise InputError(f"numbers of {self.name} lie in 0..{len(self.vocabulary) - 1}")
        if self.unit == "bytes":
            return bytes(ids.tolist()).decode("utf-8", errors="replace")
        return "".join(self.vocabulary[number] for number in ids.tolist())


class Windows(Source):
    """Stretches of a text, each with what comes next: ``"input"`` and ``"target"``, int64 (B, length), the target one unit later.

    Args:
        ids: (N,) int64.
        length: units in a stretch.
        stride: units from one row's beginning to the next's; `length` cuts the text into pieces, 1 gives every place.

    Raises:
        InputError: the text is not longer than one stretch.
    """

    def __init__(self, ids: Int64[Tensor, " length"], length: int, stride: int | None = None) -> None:
        self.stride = length if stride is None else stride
        if length < 1 or self.stride < 1:
            raise InputError(f"length and stride must be at least 1, not {length} and {self.stride}")
        if len(ids) <= length:
            raise InputError(f"a text of {len(ids)} units has no stretch of {length} with what comes next: choose a smaller length")
        self.ids = ids
        self.length = length

    def __len__(self) -> int:
        return (len(self.ids) - self.length - 1) // self.stride + 1

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        if len(indices) and not -len(self) <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"rows lie in 0..{len(self) - 1}")
        places = (indices % len(self))[:, None] * self.stride + torch.arange(self.length + 1)
        stretch = self.ids[places]
        return {"input": stretch[:, :-1].contiguous(), "target": stretch[:, 1:].contiguous()}


def open_text(name_or_path: str | Path, *, unit: str = "characters", folder: Path | None = None) -> TextData:
    """Open a text by name or path.

    Args:
        name_or_path: one of :data:`NAMED_TEXTS`, or a file. A name wins over a file of the same name.
        unit: ``"characters"``, or ``"bytes"``, which reads any file.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: no such name or file; it is empty, shorter than 100 units, or (as characters) not UTF-8 text.
        MissingError: a named dataset is not at hand; the message names the command that gets it.
    """
    choose("unit of text", unit, ("characters", "bytes"))
    name = str(name_or_path)
    if name in NAMED_TEXTS:
        path = dataset_folder(name, NAMED_TEXTS[name], folder) / NAMED_TEXTS[name]
    else:
        path = Path(name_or_path).expanduser()
        if not path.exists():
            if len(path.parts) > 1 or path.suffix:
                raise InputError(f"{path}: no such file")
            choose("text (or path)", name, NAMED_TEXTS)
        if path.is_dir():
            raise InputError(f"{path} is a folder: a text is given as one file")
    content = path.read_bytes()
    if not content:
        raise InputError(f"{path} is empty")
    ids, vocabulary = (_bytes_of(content), [chr(byte) for byte in range(256)]) if unit == "bytes" else _characters_of(path, content)
    if len(ids) < _LEAST:
        raise InputError(f"{path} has only {len(ids)} {unit}: at least {_LEAST} are needed to learn from")
    split = len(ids) * 9 // 10
    return TextData(name, ids[:split], ids[split:], vocabulary, unit)


def _bytes_of(content: bytes) -> Int64[Tensor, " length"]:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).long() if content else torch.empty(0, dtype=torch.int64)


def _characters_of(path: Path, content: bytes) -> tuple[Int64[Tensor, " length"], list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}): convert it, or read it as bytes") from None
    if "\x00" in text:
        raise InputError(f"{path} is a binary file (it holds a zero byte): give a text, or read it as bytes")
    if not text:
        raise InputError(f"{path} is empty")
    points = torch.frombuffer(bytearray(text.encode("utf-32-le")), dtype=torch.int32)
    vocabulary = sorted(set(text))
    return torch.searchsorted(torch.tensor([ord(character) for character in vocabulary], dtype=torch.int32), points), vocabulary
