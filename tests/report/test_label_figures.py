from pathlib import Path

from ordinate.analyze.rate_instances import FactorInstance
from ordinate.analyze.rate_study import RateStudy
from ordinate.analyze.sample_planner import SamplePlanner
from ordinate.report.label_plan import save_label_plan_figure
from ordinate.report.rates import save_rates_figure


def test_a_study_is_drawn_with_and_without_slopes(tmp_path: Path) -> None:
    for sizes in (((20, 40, 80, 2000), (50, 100, 200, 5000)), ((20, 40), (50, 100))):
        found = RateStudy(FactorInstance(6, (2.0,)), *sizes, reps=2).run()
        paths = save_rates_figure(found, tmp_path)
        text = paths[0].read_text()
        assert {path.suffix for path in paths} == {".svg", ".png"} and "<svg" in text
        again = save_rates_figure(found, tmp_path / "again")
        assert again[0].read_bytes() == paths[0].read_bytes()


def test_a_plan_is_drawn(tmp_path: Path) -> None:
    runs = [(m, n, 3 / m + 2 / n) for m in (100, 400, 1600) for n in (50, 200, 800)] + [(0, 100, 0.2), (0, 1000, 0.02)]
    planner = SamplePlanner(resamples=2).fit(runs)
    paths = save_label_plan_figure(planner, planner.plan(0.01, 1, 10), 1, 10, tmp_path)
    assert [path.name for path in paths] == ["label-plan.svg", "label-plan.png"] and all(path.stat().st_size > 1000 for path in paths)
