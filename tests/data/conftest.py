"""Pictures made on the spot, and a cache folder of the test's own."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("ordinate.data.home.user_cache_path", lambda name: cache / name)


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """The bytes of an image file of noise: picture(seed, (height, width), mode, format)."""

    def make(seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
        channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
        noise = torch.randint(256, (*size, channels), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        file = io.BytesIO()
        Image.frombytes(mode, (size[1], size[0]), bytes(noise.flatten().tolist())).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture
def image_folder(tmp_path: Path, picture: Callable[..., bytes]) -> Callable[..., Path]:
    """A folder of images, a subfolder a class: image_folder({"cat": 10, "dog": 5}, size=(8, 8))."""

    def make(counts: dict[str, int], name: str = "images", **how: object) -> Path:
        for place, (label, count) in enumerate(counts.items()):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number:03d}.png").write_bytes(picture(1000 * place + number, **how))
        return tmp_path / name

    return make
