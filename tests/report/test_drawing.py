import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.experiment.evidence import Judgement
from ordinate.experiment.verdict import Interval, interval, judge
from ordinate.report.drawing import Line, bar_strip, bounds_of, chart, score_axis, score_strip

FINITE = st.floats(-1e12, 1e12)


def make_bar(
    values: list[float], at_least: float | None = None, at_most: float | None = None, method: str = "t", unit: str = ""
) -> Judgement:
    found = interval(values, method)  # type: ignore[arg-type]
    verdict = judge(found, at_least, at_most)
    return Judgement("label <b>", unit, method, values, found.mean, found.low, found.high, at_least, at_most, verdict)


def percentages(text: str) -> list[float]:
    return [float(value) for value in re.findall(r'"(-?[\d.]+)%"', text)]


@given(st.lists(FINITE, min_size=1, max_size=6), st.none() | FINITE, FINITE)
def test_a_bar_is_well_formed_and_stays_within_its_width(values: list[float], at_least: float | None, at_most: float) -> None:
    text = bar_strip(make_bar(values, at_least, at_most))
    ElementTree.fromstring(text)
    assert text.count("<circle") == len(values)
    assert all(0 <= place <= 100 for place in percentages(text))


def test_the_allowed_side_lies_beyond_the_bound() -> None:
    (bound,) = re.findall(r'<line x1="([\d.]+)%"[^>]*dasharray', bar_strip(make_bar([1.0, 1.2, 1.1], at_least=1.05)))
    assert f'<rect x="{bound}%"' in bar_strip(make_bar([1.0, 1.2, 1.1], at_least=1.05))
    assert f'<rect x="0.00%" y="2" width="{bound}%"' in bar_strip(make_bar([1.0, 1.2, 1.1], at_most=1.05))


def test_one_seed_has_no_interval_and_an_exact_number_no_seeds() -> None:
    assert 'stroke-width="2.5"' in bar_strip(make_bar([1.0], at_least=0.0))
    assert bar_strip(make_bar([1.0], at_least=0.0)).count('stroke-width="2.5"') == 1
    assert bar_strip(make_bar([1.0, 2.0], at_least=0.0)).count('stroke-width="2.5"') == 2
    assert "<circle" not in bar_strip(make_bar([3.0], at_least=3.0, method="exact"))
    assert "<circle" not in bar_strip(make_bar([1.0, 0.5, 2.0], at_least=0.0, method="given"))


@pytest.mark.parametrize(
    ("bounds", "unit", "text"),
    [((30.0, None), "%", "≥ 30 %"), ((None, 1.25), "x", "≤ 1.25×"), ((0.0, 1e-5), "", "≥ 0 and ≤ 1e−5"), ((2.0, 2.0), "", "= 2")],
)
def test_bounds_are_written_in_a_few_signs(bounds: tuple[float | None, float | None], unit: str, text: str) -> None:
    assert bounds_of(make_bar([1.0, 2.0], *bounds, unit=unit)) == text


@given(st.lists(st.lists(FINITE, min_size=1, max_size=4), min_size=1, max_size=4))
def test_scores_share_one_axis(arms: list[list[float]]) -> None:
    ends = [interval(values) for values in arms]
    axis = score_axis([value for values in arms for value in values], ends)
    for index, (values, found) in enumerate(zip(arms, ends, strict=True)):
        text = score_strip(values, found, axis, index)
        ElementTree.fromstring(text)
        assert all(0 <= place <= 100 for place in percentages(text))


@given(st.lists(st.tuples(FINITE | st.just(math.inf), FINITE | st.just(math.nan)), max_size=8))
def test_a_chart_leaves_out_what_is_not_finite(points: list[tuple[float, float]]) -> None:
    text = chart([Line(points, 0, "a & b", marked=True)], y_name="loss <1>")
    kept = [point for point in points if all(math.isfinite(part) for part in point)]
    if not kept:
        assert text == ""
        return
    root = ElementTree.fromstring(text)
    dots = root.findall("circle")
    assert len(dots) == len(kept)
    assert all(0 <= float(dot.get("cx", "")) <= 380 and 0 <= float(dot.get("cy", "")) <= 230 for dot in dots)


def test_a_power_law_is_a_straight_line_on_a_chart_of_sizes() -> None:
    text = chart([Line([(2.0**power, 3.0 * 2.0 ** (1.5 * power)) for power in range(4, 10)], 0, marked=True)])
    places = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in ElementTree.fromstring(text).findall("circle")]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(places)]
    assert max(slopes) - min(slopes) < 0.02 and ">size<" in text


def test_a_strip_says_what_it_shows() -> None:
    said = score_strip([1.0, 3.0], Interval(2.0, 1.5, 2.5), score_axis([1.0, 3.0], []), 0)
    assert "2, 95 % interval 1.5 to 2.5; by seed: 1, 3" in said
