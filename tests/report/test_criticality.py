from pathlib import Path

from ordinate.analyze.criticality_study import study_criticality
from ordinate.report.criticality import save_criticality_figure
from tests.report.test_figures import check_images


def test_a_study_is_drawn_with_networks_and_without(tmp_path: Path) -> None:
    for draws in (0, 2):
        study = study_criticality("tanh", depth=5, width=20, draws=draws)
        check_images(save_criticality_figure(study, tmp_path / str(draws)))
        check_images(save_criticality_figure(study_criticality("square", depth=30, width=100, draws=draws), tmp_path / f"square-{draws}"))


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_criticality_figure(study_criticality("relu", depth=4, width=10, draws=2), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
