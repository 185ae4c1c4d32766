import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate
from tests.cli.pictures import make_folder


def test_arms_are_compared_on_a_folder_of_images(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images")
    arms = ("vit-tiny", "hornet-tiny", "resnet")
    said = ordinate(
        "compare",
        *arms,
        "--task",
        "image-classification",
        "--data",
        images,
        "--seeds",
        2,
        "--steps",
        3,
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert said.status == 0, said.err
    document = said.document
    assert [(row["arm"], row["seed"]) for row in document["rows"]] == [(arm, seed) for seed in (0, 1) for arm in arms]
    assert {each["over"] for each in document["differences"]} == {"hornet-tiny", "resnet"}
    sizes = [row["parameters"] for row in document["rows"]]
    assert max(sizes) < 1.1 * min(sizes), "arms of one budget"
    assert json.loads((tmp_path / "run" / "comparison.json").read_text()) == document
    assert {path.suffix for path in (tmp_path / "run" / "figures").iterdir()} == {".svg", ".png"}


def test_a_table_for_people(tmp_path: Path) -> None:
    said = ordinate(
        "compare", "resnet", "vit-tiny", "--task", "image-classification", "--seeds", 2, "--steps", 2, "--out", tmp_path / "run", "-q"
    )
    assert said.status == 0 and "accuracy ↑" in said.out and "resnet minus vit-tiny" in said.out


def test_a_comparison_goes_on_from_its_rows(tmp_path: Path) -> None:
    command = ("compare", "resnet", "--task", "image-classification", "--seeds", 2, "--steps", 2, "--out", tmp_path / "run")
    first = ordinate(*command, "--json").document
    removed = sorted((tmp_path / "run" / "rows").rglob("*-1.json"))
    assert len(removed) == 1
    removed[0].unlink()
    ordinate(*command, "--json").refused(2, "holds a run already")
    again = ordinate(*command, "--resume", "--json").document
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in first["rows"]]
    ordinate(*command, "--resume", "--seed", 5).refused(2, "another setting")


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_named_datasets(tmp_path: Path, data: str) -> None:
    from ordinate.data.home import data_folder

    if not (data_folder() / data / "train.parquet").exists():
        pytest.skip(f"{data} is not in $ORDINATE_DATA")
    said = ordinate(
        "compare",
        "resnet",
        "--task",
        "image-classification",
        "--data",
        data,
        "--seeds",
        1,
        "--steps",
        1,
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert said.status == 0 and said.document["metrics"][0]["name"] == "accuracy"
