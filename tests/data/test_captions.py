from pathlib import Path

import pytest

from ordinate.data.captions import open_captions
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs


def _write(folder: Path, text: str) -> None:
    (folder / "negclip-captions").mkdir(exist_ok=True)
    (folder / "negclip-captions" / "valid_neg_clip.tsv").write_text(text)


def test_a_row_is_a_caption_and_its_negatives(tmp_path: Path) -> None:
    _write(tmp_path, "\ttitle\tfilepath\tneg_caption\tneg_image\n0\tA dog bites a man.\ta.jpg\t['A man bites a dog.']\t[3, 1]\n")
    (row,) = open_captions(folder=tmp_path)
    assert row.caption == "A dog bites a man." and row.negatives == ("A man bites a dog.",) and row.neighbours == (3, 1)


@needs("negclip-captions")
def test_the_captions_of_coco() -> None:
    rows = open_captions()
    assert len(rows) == 4839
    assert all(row.negatives and all(0 <= neighbour < 4839 for neighbour in row.neighbours) for row in rows)


def test_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="ordinate data get negclip-captions"):
        open_captions(folder=tmp_path)
    for text in ("title\tfilepath\nA\tb\n", "title\tfilepath\tneg_caption\tneg_image\nA\tb\t__import__('os')\t[]\n"):
        _write(tmp_path, text)
        with pytest.raises(InputError, match="not the table of captions"):
            open_captions(folder=tmp_path)
