from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from ordinate.bench.base import BenchResult, Timing
from ordinate.experiment.comparison import Row, Table
from ordinate.experiment.evidence import check_paper
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Metric
from ordinate.report.figures import save_bench_figures, save_evidence_figures, save_table_figures
from tests.experiment.counting import PAPER, SETTING

SIZES = (256, 512, 1024, 2048)


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def check_images(paths: list[Path]) -> None:
    """Every file is an image with something on it."""
    assert paths and len(set(paths)) == len(paths)
    for path in paths:
        if path.suffix == ".svg":
            assert len(list(ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}path"))) > 5
        else:
            low, high = Image.open(path).convert("L").getextrema()
            assert low < 100 and high == 255


def test_evidence_is_drawn_claims_scores_and_curves(tmp_path: Path) -> None:
    paths = save_evidence_figures(check_paper(PAPER, SETTING), tmp_path / "new" / "figures")
    assert names(paths) == [f"{stem}.{kind}" for stem in ("claims", "good-poor-scores", "good-poor-curves") for kind in ("svg", "png")]
    check_images(paths)


def test_one_seed_is_drawn_without_an_interval(tmp_path: Path) -> None:
    check_images(save_evidence_figures(check_paper(PAPER, Setting(seeds=(3,))), tmp_path))


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    evidence = check_paper(PAPER, SETTING)
    first, second = (save_evidence_figures(evidence, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_table_with_hostile_names_and_odd_numbers_is_drawn(tmp_path: Path) -> None:
    arms = ["$\\frac{", "<b>&", "a name so long that it has to be broken somewhere, _twice_ perhaps"] + [f"arm {n}" for n in range(9)]
    rows = [
        Row(arm, seed, {"loss $": 10.0 ** (index - 3), "constant": 1.0}, {"cost": [(2.0**power, float("inf") if power == 3 else power) for power in range(6)], "none": []})
        for index, arm in enumerate(arms)
        for seed in (0, 1)
    ]  # fmt: skip
    table = Table(rows, [Metric("loss $", "nats", higher_is_better=False), Metric("constant")], "A $title")
    check_images(save_table_figures(table, tmp_path))


def test_a_table_without_curves_has_scores_only(tmp_path: Path) -> None:
    table = Table([Row("a", 0, {"score": 1.0})], [Metric("score")], "t")
    assert names(save_table_figures(table, tmp_path)) == ["scores.svg", "scores.png"]


@pytest.mark.parametrize("sized", [True, False])
def test_a_bench_is_drawn_with_its_exponents_and_qualities(tmp_path: Path, sized: bool) -> None:
    rows = [
        Timing(contender, size, 1e-6 * (size or 1) ** power, 1000 * (size or 1), {"recall": 0.9, "kind": "exact"})
        for size in (SIZES if sized else (None,))
        for contender, power in (("softmax", 2.0), ("nprf", 1.1))
    ]
    exponents = {"softmax": (2.0, 1.9, 2.1)} if sized else {}
    paths = save_bench_figures(BenchResult(rows, "softmax", "length" if sized else "", exponents), tmp_path, "Mixers & more")
    assert names(paths) == [f"{stem}.{kind}" for stem in ("time", "memory", "quality") for kind in ("svg", "png")]
    check_images(paths)


def test_a_bench_of_nothing_has_no_figures(tmp_path: Path) -> None:
    assert save_bench_figures(BenchResult([], "softmax"), tmp_path, "empty") == []
