from pathlib import Path

from ordinate.analyze.in_context.linear_references import linear_families
from ordinate.analyze.in_context.predictors import LeastSquares
from ordinate.analyze.in_context.study import study_in_context
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.report.in_context import save_in_context_figure


def test_a_figure_is_drawn_also_where_a_distance_is_0_and_is_the_same_again(tmp_path: Path) -> None:
    source = LinearPrompts(2, 4)
    found = study_in_context(LeastSquares(), source, linear_families(source), prompts=10, asked=0)
    first, second = (save_in_context_figure(found, tmp_path / name, "least $squares") for name in ("a", "b"))
    assert [path.name for path in first] == ["incontext.svg", "incontext.png"]
    assert first[1].read_bytes() == second[1].read_bytes() and b"k-NN" in first[0].read_bytes()
