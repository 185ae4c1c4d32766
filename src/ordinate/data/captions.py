"""Captions of photographs with hard negatives: the same words in another order that means something else (Yuksekgonul et al. 2023, Sec. 4, NegCLIP)."""

import ast
import csv
from dataclasses import dataclass
from pathlib import Path

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError

__all__ = ["Captioned", "open_captions"]

_FILE = "valid_neg_clip.tsv"


@dataclass(frozen=True)
class Captioned:
    """A photograph's caption and what it must be told apart from.

    Attributes:
        caption: what is seen.
        image: the photograph's path in COCO; the photographs themselves are not part of the dataset.
        negatives: captions that swap words of this one.
        neighbours: rows whose photographs look alike.
    """

    caption: str
    image: str
    negatives: tuple[str, ...]
    neighbours: tuple[int, ...]


def open_captions(*, folder: Path | None = None) -> list[Captioned]:
    """The 4,839 captions of ``negclip-captions``, in the file's order.

    Args:
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: the file is not as it should be.
        MissingError: the dataset is not at hand; the message names the command that gets it.
    """
    path = dataset_folder("negclip-captions", _FILE, folder) / _FILE
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            return [
                Captioned(
                    row["title"], row["filepath"], tuple(ast.literal_eval(row["neg_caption"])), tuple(ast.literal_eval(row["neg_image"]))
                )
                for row in csv.DictReader(stream, delimiter="\t")
            ]
        except (KeyError, TypeError, ValueError, SyntaxError) as error:
            raise InputError(f"{path} is not the table of captions that it should be ({type(error).__name__}: {error})") from None
