from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ordinate.data.decode import decode
from ordinate.data.photographs import open_photographs
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs


def test_a_folder_of_photographs_of_any_size(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "b.png").write_bytes(picture(1, (5, 9)))
    (tmp_path / "a.jpg").write_bytes(picture(2, (16, 4), "L", "JPEG"))
    (tmp_path / "notes.txt").write_text("none of our business")
    photographs = open_photographs(tmp_path)
    assert [file.name for file in photographs.files] == ["a.jpg", "b.png"]
    assert photographs[0].shape == (3, 16, 4), "grey ones too have three channels"
    assert torch.equal(photographs[1], decode(picture(1, (5, 9)), grey=False))
    assert len(list(photographs)) == 2, "iteration ends"
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.png cannot be read \(empty\)"):
        photographs[1]


@needs("set5")
def test_set5() -> None:
    photographs = open_photographs("set5")
    assert len(photographs) == 5 and all(image.shape[0] == 3 for image in photographs)


@needs("bsd100")
def test_bsd100() -> None:
    photographs = open_photographs("bsd100")
    assert len(photographs) == 100 and sorted(photographs[0].shape) == [3, 320, 480]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        open_photographs(tmp_path)
    with pytest.raises(InputError, match="did you mean set5"):
        open_photographs("set55")
    with pytest.raises(MissingError, match="ordinate data get bsd100"):
        open_photographs("bsd100", folder=tmp_path)
