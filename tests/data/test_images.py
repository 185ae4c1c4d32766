import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ordinate.data import pictures
from ordinate.data.images import ImageData, open_images
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

MakeFolder = Callable[..., Path]
Picture = Callable[..., bytes]


def _all(data: ImageData, split: str = "train") -> dict[str, torch.Tensor]:
    source = getattr(data, split)
    return source.take(torch.arange(len(source)))


def _pixels(data: ImageData, images: torch.Tensor) -> torch.Tensor:
    """Back to 0..255."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (data.mean, data.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def test_digits_are_built_in() -> None:
    data = open_images("digits")
    assert data.shape == (1, 8, 8) and data.classes == [str(digit) for digit in range(10)] and data.name == "digits"
    assert len(data.train) + len(data.test) == 1797
    train, test = _all(data), _all(data, "test")
    assert train["image"].dtype == torch.float32 and train["label"].dtype == torch.int64
    assert abs(train["image"].mean().item()) < 1e-5 and abs(train["image"].std().item() - 1) < 1e-3
    for label in range(10):
        of_train, of_test = (int((split["label"] == label).sum()) for split in (train, test))
        assert of_test == round((of_train + of_test) / 5), "a fifth of every class is held out"
    rows = {tuple(image.flatten().tolist()) for image in train["image"]}
    assert sum(tuple(image.flatten().tolist()) in rows for image in test["image"]) < 3, "test images are not training images"
    assert torch.equal(_all(open_images("digits"))["image"], train["image"])


def test_digits_resized() -> None:
    data = open_images("digits", image_size=16)
    batch = data.test.take(torch.tensor([0, 1]))
    assert data.shape == (1, 16, 16) and batch["image"].shape == (2, 1, 16, 16)


def test_a_folder_holds_out_a_fifth_of_every_class(image_folder: MakeFolder) -> None:
    path = image_folder({"cat": 10, "dog": 5, "eel": 2})
    data = open_images(path)
    assert data.classes == ["cat", "dog", "eel"] and data.shape == (3, 8, 8) and data.skipped == ()
    assert _all(data)["label"].bincount().tolist() == [8, 4, 2]
    assert _all(data, "test")["label"].bincount().tolist() == [2, 1]
    again = open_images(str(path))
    assert torch.equal(_all(again)["image"], _all(data)["image"])


def test_pixels_come_back(image_folder: MakeFolder, picture: Picture) -> None:
    path = image_folder({"train/a": 2, "train/b": 1, "test/a": 1})
    data = open_images(path)
    from ordinate.data.decode import decode

    first = decode(picture(1), grey=False)
    assert torch.equal(_pixels(data, data.train.take(torch.tensor([1]))["image"])[0], first)
    assert torch.equal(_pixels(data, data.train.take(torch.tensor([1, 1, 0]))["image"])[1], first)
    assert len(data.train) == 3 and _all(data, "test")["label"].tolist() == [0]


@pytest.mark.parametrize("name", ["val", "validation"])
def test_other_names_of_the_test_split(image_folder: MakeFolder, name: str) -> None:
    data = open_images(image_folder({"train/a": 2, "train/b": 2, f"{name}/a": 1, f"{name}/b": 3}))
    assert (len(data.train), len(data.test)) == (4, 4)


def test_a_lone_train_folder_is_the_split_and_one_among_others_is_a_class(image_folder: MakeFolder) -> None:
    alone = open_images(image_folder({"train/a": 5, "train/b": 5}, name="alone"))
    assert alone.classes == ["a", "b"]
    among = open_images(image_folder({"train": 5, "plane": 5}, name="among"))
    assert among.classes == ["plane", "train"]


def test_grey_folders_have_one_channel_and_mixed_ones_three(image_folder: MakeFolder) -> None:
    grey = image_folder({"a": 3, "b": 3}, name="grey", mode="L")
    assert open_images(grey).shape == (1, 8, 8)
    mixed = image_folder({"a": 3, "b": 3}, name="mixed", mode="L")
    (mixed / "a" / "000.png").write_bytes((image_folder({"c": 1}, name="more", mode="RGBA") / "c" / "000.png").read_bytes())
    assert open_images(mixed).shape == (3, 8, 8)


def test_mixed_sizes_need_an_image_size(image_folder: MakeFolder, picture: Picture) -> None:
    path = image_folder({"a": 5, "b": 5})
    (path / "a" / "wide.png").write_bytes(picture(5, (6, 20)))
    with pytest.raises(InputError, match=r"2 sizes \(6x20 to 8x8 pixels\): choose one, as in .*@4"):
        open_images(path)
    data = open_images(path, image_size=7)
    assert open_images(f"{path}@7").shape == data.shape == open_images(Path(f"{path}@7")).shape
    assert data.shape == (3, 7, 7) and _all(data)["image"].shape == (9, 3, 7, 7)


def test_corrupt_files_are_left_out_and_named(image_folder: MakeFolder, picture: Picture) -> None:
    path = image_folder({"cat": 10, "dog": 10})
    (path / "cat" / "text.png").write_text("not a picture at all")
    (path / "cat" / "nothing.png").write_bytes(b"")
    (path / "dog" / "half.png").write_bytes(picture(3, (64, 64))[:2000])
    (path / "dog" / "half.jpg").write_bytes(picture(3, (64, 64), kind="JPEG")[:900])
    (path / "dog" / "notes.txt").write_text("files that are not called images are none of our business")
    with pytest.warns(UserWarning, match="4 of 24 images cannot be read and are left out") as caught:
        data = open_images(path)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "\n" not in message
    for name, reason in (
        ("cat/text.png", "not an image"),
        ("cat/nothing.png", "empty"),
        ("dog/half.png", "truncated"),
        ("dog/half.jpg", "truncated"),
    ):
        assert f"{name} ({reason})" in message and any(name in skipped for skipped in data.skipped)
    assert len(data.train) + len(data.test) == 20
    with pytest.raises(InputError, match="4 of 24 images cannot be read"):
        open_images(path, strict=True)


def test_truncated_files_are_found_without_decoding_the_rest(
    image_folder: MakeFolder, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_folder({"cat": 5, "dog": 5})
    (path / "dog" / "half.png").write_bytes(picture(3, (64, 64))[:2000])
    (path / "dog" / "half.jpg").write_bytes(picture(3, (8, 8), kind="JPEG")[:-5])
    (path / "dog" / "trailing.jpg").write_bytes(picture(3, (8, 8), kind="JPEG") + b"a camera's own note")
    monkeypatch.setattr("ordinate.data.folders.CHECKED_WHOLE", 0)
    with pytest.warns(UserWarning, match="2 of 13 images"):
        data = open_images(path)
    assert [name.split()[0] for name in data.skipped] == ["dog/half.jpg", "dog/half.png"]


def test_a_decompression_bomb_is_refused(image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, picture: Picture) -> None:
    path = image_folder({"a": 5, "b": 5})
    (path / "a" / "bomb.png").write_bytes(picture(0, (40, 40)))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 500)
    with pytest.raises(InputError, match=r"a/bomb.png \(more than 1,000 pixels, a decompression bomb\)"):
        open_images(path, strict=True)


def test_a_file_that_goes_bad_later_is_named(image_folder: MakeFolder) -> None:
    path = image_folder({"a": 5, "b": 5})
    data = open_images(path)
    for file in (path / "a").iterdir():
        file.write_bytes(b"gone")
    with pytest.raises(InputError, match="can no longer be read"):
        _all(data)


def test_phone_photographs_are_turned_upright(tmp_path: Path) -> None:
    from PIL import Image

    from ordinate.data.decode import decode, read_header

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "photo.jpg", exif=exif)
    header = read_header(tmp_path / "photo.jpg")
    assert (header.height, header.width) == (20, 10)
    assert decode(tmp_path / "photo.jpg", grey=False).shape == (3, 20, 10)


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    from PIL import Image

    from ordinate.data.decode import decode

    values = torch.tensor([[0, 256, 32768, 65535]], dtype=torch.int32).to(torch.uint16)
    Image.frombytes("I;16", (4, 1), bytes(values.view(torch.uint8).flatten().tolist())).save(tmp_path / "deep.png")
    assert decode(tmp_path / "deep.png", grey=True).flatten().tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no images"),
        ({"only": 5}, "one class only"),
        ({"train/a": 3, "train/b": 3, "test/c": 1}, "no training images of: c"),
        ({"a": 1, "b": 1}, "leaves no image to test on"),
    ],
)
def test_folders_that_cannot_be_learnt_from(tmp_path: Path, image_folder: MakeFolder, counts: dict[str, int], message: str) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=message):
        open_images(image_folder(counts))


def test_a_class_whose_images_are_all_corrupt(image_folder: MakeFolder) -> None:
    path = image_folder({"a": 5, "b": 5, "c": 1})
    (path / "c" / "000.png").write_bytes(b"")
    with pytest.raises(InputError, match="no readable training image of c"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_images(path)
    for folder in ("a", "b"):
        for file in (path / folder).iterdir():
            file.write_bytes(b"")
    with pytest.raises(InputError, match="11 of 11 images cannot be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_images(path)


def test_what_is_no_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_images(tmp_path / "absent")
    with pytest.raises(InputError, match="did you mean mnist"):
        open_images("mnits")
    with pytest.raises(InputError, match="set5 is no dataset of images with classes"):
        open_images("set5")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        open_images(tmp_path / "file.txt")
    with pytest.raises(InputError, match="image_size must be at least 1"):
        open_images("digits", image_size=0)


def test_an_absent_dataset_names_the_command_that_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDINATE_DATA", str(tmp_path))
    with pytest.raises(MissingError, match="ordinate data get mnist"):
        open_images("mnist")
    with pytest.raises(MissingError, match="ordinate data get cifar10"):
        open_images("cifar10", folder=tmp_path)


def _table(path: Path, images: list[bytes], labels: list[int], column: str = "image", metadata: dict[str, str] | None = None) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    files = pa.array([{"bytes": image, "path": None} for image in images], kind)
    table = pa.table({column: files, "label": pa.array(labels, pa.int64())})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=4)


def test_parquet_tables_are_decoded_once_and_the_cache_is_used(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"huggingface": '{"info": {"features": {"label": {"names": ["ant", "bee"]}}}}'}
    _table(tmp_path / "train.parquet", [picture(i) for i in range(11)], [i % 2 for i in range(11)], metadata=names)
    _table(tmp_path / "test.parquet", [picture(90 + i) for i in range(3)], [0, 1, 0], metadata=names)
    data = open_images(tmp_path)
    assert data.classes == ["ant", "bee"] and data.shape == (3, 8, 8) and len(data.test) == 3
    from ordinate.data.decode import decode

    assert torch.equal(_pixels(data, data.train.take(torch.tensor([9, 2]))["image"])[0], decode(picture(9), grey=False))
    monkeypatch.setattr(pictures, "_decode_into", lambda array, table: pytest.fail("decoded again"))
    again = open_images(tmp_path)
    assert torch.equal(_all(again)["image"], _all(data)["image"])
    assert torch.equal(_all(pickle.loads(pickle.dumps(again)))["image"], _all(data)["image"])


def test_parquet_tables_that_are_large_are_decoded_when_taken(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    _table(tmp_path / "train.parquet", [picture(i) for i in range(11)], [i % 2 for i in range(11)])
    small = open_images(tmp_path)
    monkeypatch.setattr(pictures, "DECODED_LIMIT", 0)
    large = open_images(tmp_path)
    assert isinstance(large.train.source.source, pictures.ParquetPictures)  # type: ignore[attr-defined]
    assert torch.equal(_all(large)["image"], _all(small)["image"]) and torch.equal(_all(large)["label"], _all(small)["label"])
    assert torch.equal(_all(pickle.loads(pickle.dumps(large)))["image"], _all(small)["image"])
    assert len(large.test) == 2, "without a test table a fifth is held out"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    _table(tmp_path / "train.parquet", [picture(i) for i in range(12)], [i % 2 for i in range(12)])
    usual = open_images(tmp_path)
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr("ordinate.data.home.user_cache_path", lambda name: tmp_path / "a file" / name)
    data = open_images(tmp_path)
    assert torch.equal(_all(data)["image"], _all(usual)["image"])


def test_a_damaged_cache_is_made_again(tmp_path: Path, picture: Picture) -> None:
    from ordinate.data.home import cache_folder

    _table(tmp_path / "train.parquet", [picture(i) for i in range(12)], [i % 2 for i in range(12)])
    before = _all(open_images(tmp_path))["image"]
    for file in (cache_folder() / "decoded").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(_all(open_images(tmp_path))["image"], before)


def test_parquet_tables_that_hold_no_images(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "train.parquet"
    path.write_text("no table")
    with pytest.raises(InputError, match="not a parquet table"):
        open_images(tmp_path)
    pq.write_table(pa.table({"x": [1.0], "label": [0]}), path)
    with pytest.raises(InputError, match="not a table of images"):
        open_images(tmp_path)
    _table(path, [picture(i) for i in range(5)], [0] * 5)
    with pytest.raises(InputError, match="one class only"):
        open_images(tmp_path)
    _table(path, [picture(0), b"broken", picture(2), picture(3), picture(4)], [0, 1, 0, 1, 0])
    with pytest.raises(InputError, match="row 1"):
        open_images(tmp_path)
    _table(path, [picture(0), picture(1, (9, 9)), picture(2), picture(3)], [0, 1, 0, 1])
    with pytest.raises(InputError, match="row 1 is 9x9 pixels, row 0 is 8x8"):
        open_images(tmp_path)
    assert open_images(tmp_path, image_size=6).shape == (3, 6, 6)
    _table(path, [], [])
    with pytest.raises(InputError, match="no rows"):
        open_images(tmp_path)


@needs("mnist")
def test_a_slice_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DECODED_LIMIT", 0)
    monkeypatch.setattr("ordinate.data.images._SAMPLED", 64)
    data = open_images("mnist")
    assert (len(data.train), len(data.test), data.shape) == (60_000, 10_000, (1, 28, 28))
    assert abs(data.mean[0] - 0.13) < 0.03


@needs("cifar10")
def test_a_slice_of_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DECODED_LIMIT", 0)
    monkeypatch.setattr("ordinate.data.images._SAMPLED", 64)
    data = open_images("cifar10")
    assert (len(data.train), len(data.test), data.shape, data.classes[3]) == (50_000, 10_000, (3, 32, 32), "cat")
    assert data.test.take(torch.tensor([5, 9_999]))["image"].shape == (2, 3, 32, 32)
