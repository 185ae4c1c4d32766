"""The line format of the released planar data sets.

Each line is an instance: ``x1 y1 x2 y2 ... xn yn output i1 i2 ... i1``, numbers separated by blanks, points numbered from 1. Hulls and tours repeat their first point at the end; triangulations,
three numbers a triangle, do not. The numbers are the slots of `ordinate.data.planar`, without END.

Source: the data files that the authors of Pointer Networks (NIPS 2015) published.
"""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ordinate.data.planar import END, PlanarData
from ordinate.ground.errors import InputError
from ordinate.ground.files import write_text

__all__ = ["read_planar", "write_planar"]


def read_planar(path: Path | str, *, closed: bool = True) -> PlanarData:
    """Read a file of the released format. Blank lines are passed over.

    Args:
        path: the file.
        closed: its answers repeat their first point at the end (hulls, tours), and the repetition is dropped; False keeps them as they are (triangulations).

    Raises:
        InputError: no such file, no instance in it, or a line that is not of the format; the message says which and why.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error})") from None
    points, targets = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            instance, answer = _parse(line, closed, f"{path}, line {number}")
            points.append(instance)
            targets.append(answer)
    if not points:
        raise InputError(f"{path} holds no instances: its lines are to read 'x1 y1 x2 y2 ... output i1 i2 ...'")
    lengths = torch.tensor([len(instance) for instance in points])
    return PlanarData(pad_sequence(points, batch_first=True), lengths, pad_sequence(targets, batch_first=True, padding_value=END))


def _parse(line: str, closed: bool, where: str) -> tuple[Tensor, Tensor]:
    before, word, after = line.partition("output")
    if not word:
        raise InputError(f"{where}: there is no 'output' between the points and the answer")
    try:
        numbers = [float(each) for each in before.split()]
        answer = [int(each) for each in after.split()]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    if not numbers or len(numbers) % 2 or not all(math.isfinite(each) for each in numbers):
        raise InputError(f"{where}: the points are to be pairs of finite numbers")
    n = len(numbers) // 2
    if not answer or not all(1 <= each <= n for each in answer):
        raise InputError(f"{where}: the answer is to name points from 1 to {n}")
    if closed:
        if len(answer) < 2 or answer[0] != answer[-1]:
            raise InputError(f"{where}: the answer does not end where it begins: read the file with closed=False if it is not meant to")
        answer = answer[:-1]
    return torch.tensor(numbers).reshape(n, 2), torch.tensor([*answer, END])


def write_planar(path: Path | str, data: PlanarData, *, closed: bool = True) -> None:
    """Write instances in the released format; single precision survives the way there and back.

    Args:
        path: the file; it is whole or as it was.
        data: the instances.
        closed: repeat the first point of each answer at the end (hulls, tours); False for triangulations.
    """
    lines = []
    for points, length, target in zip(data.points, data.lengths.tolist(), data.targets.tolist(), strict=True):
        answer = target[: target.index(END)]
        numbers = " ".join(f"{value:.9g}" for value in points[:length].flatten().tolist())
        lines.append(f"{numbers} output {' '.join(str(slot) for slot in (*answer, *answer[: int(closed)]))}\n")
    write_text(Path(path), "".join(lines))
