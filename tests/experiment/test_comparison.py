import math
from pathlib import Path

import pytest

from ordinate.experiment.comparison import Comparison, Moment, Table
from ordinate.experiment.difference import paired_differences
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.ground.errors import InputError, MissingError
from tests.experiment.counting import SETTING, Counting


def make(task: Counting | None = None) -> Comparison:
    return Comparison("two", task or Counting(), [Arm("a", float), Arm("b", lambda seed: seed + 0.5)])


def test_rows_are_paired_by_seed_and_measured() -> None:
    moments: list[Moment] = []
    table = make().run(SETTING, watch=moments.append)
    assert table.arms == ["a", "b"] and table.seeds == [0, 1, 2]
    assert table.values("b", "score") == [0.5, 1.5, 2.5]
    assert all(row.wall_seconds > 0 and row.parameters == 7 for row in table.rows)
    assert [moment.number for moment in moments if moment.row] == list(range(1, 7))


def test_curves_are_thinned_and_keep_their_ends() -> None:
    points = make().run(SETTING).of("b")[1].curves["score"]
    assert len(points) <= 120 and points[0] == (0, 0.0) and points[-1] == (299, 1.5 * 299)


def test_a_stopped_comparison_goes_on_from_its_rows(tmp_path: Path) -> None:
    class Stops(Counting):
        def run(self, arm, run):
            if len(self.runs) == 3:
                raise KeyboardInterrupt
            return super().run(arm, run)

    with pytest.raises(KeyboardInterrupt):
        make(Stops()).run(SETTING, folder=tmp_path)
    rest = Counting()
    table = make(rest).run(SETTING, folder=tmp_path, resume=True)
    assert rest.runs == [("b", 1), ("a", 2), ("b", 2)]
    whole = make().run(SETTING)
    assert [(row.arm, row.seed, row.metrics) for row in table.rows] == [(row.arm, row.seed, row.metrics) for row in whole.rows]
    assert not list(tmp_path.rglob("checkpoint"))


def test_a_table_survives_json() -> None:
    table = make().run(SETTING)
    assert Table.from_json(table.to_json()).to_json() == table.to_json()


def test_a_metric_that_is_not_a_number_is_an_error() -> None:
    broken = Comparison("broken", Counting(), [Arm("nan", lambda seed: math.nan)])
    with pytest.raises(InputError, match="arm 'nan' at seed 0 has no finite score"):
        broken.run(SETTING)


def test_a_cut_row_is_named(tmp_path: Path) -> None:
    make().run(SETTING, folder=tmp_path)
    row = next((tmp_path / "two").glob("*.json"))
    row.write_text(row.read_text()[:40])
    with pytest.raises(InputError, match=str(row)):
        make().run(SETTING, folder=tmp_path, resume=True)


def test_differences_are_paired() -> None:
    (difference,) = paired_differences(make().run(SETTING))
    assert (difference.arm, difference.over, difference.mean, difference.low, difference.high) == ("a", "b", -0.5, -0.5, -0.5)
    (alone,) = paired_differences(make().run(Setting(seeds=(4,))))
    assert alone.low is None


@pytest.mark.parametrize("arms", [[], [Arm("a", float), Arm("a", float)]])
def test_arms_need_names_of_their_own(arms: list[Arm]) -> None:
    with pytest.raises(InputError):
        Comparison("x", Counting(), arms)


@pytest.mark.parametrize(
    "bad",
    [{"scale": "huge"}, {"seeds": ()}, {"seeds": (-1,)}, {"seeds": (1, 1)}, {"steps": 0}, {"device": "abacus"}],
    ids=lambda bad: next(iter(bad)),
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        Setting(**bad)


def test_an_absent_device_is_missing_not_wrong() -> None:
    import torch

    if torch.cuda.is_available():
        assert Setting(device="cuda").device == "cuda"
    else:
        with pytest.raises(MissingError):
            Setting(device="cuda")
