from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.retrieve.embeddings import ENDINGS, Part, read_embeddings, write_embeddings


def parts(*sizes: int, width: int = 5, labels: bool = False) -> Iterator[Part]:
    start = 0
    for size in sizes:
        ids = [f"row {number}" for number in range(start, start + size)]
        start += size
        yield Part(ids, torch.randn(size, width, generator=torch.Generator().manual_seed(start)), ids if labels else None)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4), width=st.integers(1, 9))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, ending: str, sizes: list[int], width: int) -> None:
    path = tmp_path_factory.mktemp("embeddings") / f"out{ending}"
    assert write_embeddings(path, parts(*sizes, width=width)) == sum(sizes)
    found = read_embeddings(path)
    assert found.ids == [f"row {number}" for number in range(sum(sizes))]
    assert torch.equal(found.vectors, torch.cat([part.vectors for part in parts(*sizes, width=width)]))


def test_labels_go_with_parquet_and_npy_is_numpys(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "a.parquet", parts(2, 3, labels=True))
    assert read_embeddings(tmp_path / "a.parquet").labels == [f"row {number}" for number in range(5)]
    np.save(tmp_path / "b.npy", np.ones((3, 2)))
    assert read_embeddings(tmp_path / "b.npy").ids == ["0", "1", "2"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_stopped_write_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    write_embeddings(path, parts(2))

    def stops() -> Iterator[Part]:
        yield from parts(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_embeddings(path, stops())
    assert len(read_embeddings(path).ids) == 2
    assert not list(tmp_path.glob(".*"))


def test_bad_embeddings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in .parquet or .npy"):
        write_embeddings(tmp_path / "out.csv", parts(1))
    with pytest.raises(InputError, match="nothing to write"):
        write_embeddings(tmp_path / "out.npy", parts())
    with pytest.raises(InputError, match="nothing to write"):
        write_embeddings(tmp_path / "out.parquet", parts())
    with pytest.raises(InputError, match="one width"):
        write_embeddings(tmp_path / "out.npy", [*parts(1), *parts(1, width=6)])
    with pytest.raises(InputError, match="the embedding of b is not finite"):
        write_embeddings(tmp_path / "out.npy", [Part(["a", "b"], torch.tensor([[1.0], [float("nan")]]))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_file_is_one_clear_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    write_embeddings(path, parts(4))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="holds no embeddings that can be read"):
        read_embeddings(path)
    with pytest.raises(InputError, match="no such file"):
        read_embeddings(tmp_path / f"none{ending}")
