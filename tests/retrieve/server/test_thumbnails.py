import io
from pathlib import Path

import pytest
from PIL import Image

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.refusal import Refused
from ordinate.retrieve.server.thumbnails import Thumbnails
from tests.retrieve.server.made import bomb, png, refused, standing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.png").write_bytes(png(seed=9))
    root = tmp_path / "gallery"
    (root / "cats").mkdir(parents=True)
    (root / "cats" / "tom.png").write_bytes(png(300, 200))
    (root / "bomb.png").write_bytes(bomb())
    (root / "liar.png").write_text("no picture")
    (root / "notes.txt").write_text("private")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    return root


def test_a_picture_of_the_folder_is_shown_small(folder: Path) -> None:
    with Image.open(io.BytesIO(Thumbnails(str(folder)).png("cats/tom.png"))) as image:
        assert image.size == (192, 192)


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "cats/../../secret.png", "link.png", "up/secret.png", "notes.txt", "/etc/passwd", "cats/tom.png/", "cats\\tom.png", "", ".", "cats",
     "cats/../cats/tom.png", "cats/tom.png\x00", "%2e%2e/secret.png", "liar.png", "bomb.png"],
)  # fmt: skip
def test_nothing_else_is_even_if_the_index_had_such_an_id(folder: Path, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        Thumbnails(str(folder)).png(name)
    assert refusal.value.status == 404


def test_ids_that_the_index_does_not_have_have_no_picture(folder: Path) -> None:
    with standing(thumbnails=Thumbnails(str(folder)), knows={"cats/tom.png", "gone.png"}) as (_, client):
        answer = client.get("/thumbnail", params={"id": "cats/tom.png"})
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        assert "private" in answer.headers["cache-control"] and answer.content.startswith(b"\x89PNG")
        (folder / "other.png").write_bytes(png())
        for name in ("other.png", "../secret.png", "link.png"):
            refused(client.get("/thumbnail", params={"id": name}), 404, "the index has no row of that id")
        refused(client.get("/thumbnail", params={"id": "gone.png"}), 404, "there is no picture of that id")


def test_a_file_that_goes_away_is_404(folder: Path) -> None:
    shown = Thumbnails(str(folder))
    (folder / "cats" / "tom.png").unlink()
    with pytest.raises(Refused, match="there is no picture"):
        shown.png("cats/tom.png")


def test_a_file_that_becomes_a_link_is_not_followed(folder: Path) -> None:
    shown = Thumbnails(str(folder))
    (folder / "cats" / "tom.png").unlink()
    (folder / "cats" / "tom.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(Refused, match="there is no picture"):
        shown.png("cats/tom.png")


def test_named_datasets_are_shown_by_split_and_row() -> None:
    shown = Thumbnails("digits")
    with Image.open(io.BytesIO(shown.png("test/3"))) as image:
        assert image.size == (8, 8) and image.mode == "L" and image.getextrema()[1] > 200
    with pytest.raises(Refused):
        shown.png("test/99999")


def test_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of pictures"):
        Thumbnails(str(tmp_path / "absent"))
