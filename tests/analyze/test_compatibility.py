"""Compatibility: hand-made matrices, the two inequalities on simulated caps, and identification by class templates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ordinate.analyze.compatibility import (
    accuracy_curve,
    average_accuracy,
    average_compatibility,
    class_templates,
    compatibility_curve,
    compatibility_matrix,
    compatibility_report,
    identification,
    summarise,
    violations,
)
from ordinate.ground.errors import InputError

LABELS = torch.tensor([3, 3, 7, 7])
POINTS = torch.tensor([[1.0, 0.0], [2.0, 0.2], [0.0, 1.0], [0.1, 3.0]])


def _naive_fractions(new: Tensor, old: Tensor, gallery: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> tuple[float, float]:
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for i in range(len(new)):
        for j in range(len(gallery)):
            change = F.cosine_similarity(new[i], gallery[j], dim=0) - F.cosine_similarity(old[i], gallery[j], dim=0)
            same = bool(query_labels[i] == gallery_labels[j])
            kept[same].append(bool(change >= 0) if same else bool(change <= 0))
    return sum(kept[True]) / len(kept[True]), sum(kept[False]) / len(kept[False])


def test_fractions_of_pairs_and_means_by_class_are_those_of_a_double_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordinate.analyze.compatibility._PAIRS_AT_ONCE", 40)  # several blocks, the last one shorter
    new, old, gallery = torch.randn(17, 4), torch.randn(17, 4), torch.randn(15, 4)
    query_labels, gallery_labels = torch.arange(17) % 3, torch.arange(15) % 3
    report = compatibility_report(new, old, gallery, query_labels, gallery_labels)
    assert (report.same_pairs, report.different_pairs) == pytest.approx(_naive_fractions(new, old, gallery, query_labels, gallery_labels))
    cosines = F.cosine_similarity(new[:, None], gallery[None], dim=2).double()
    for a in range(3):
        for b in range(3):
            mean = cosines[query_labels == a][:, gallery_labels == b].mean()
            torch.testing.assert_close(report.new_means[a, b], mean, atol=1e-6, rtol=0)
    same = query_labels[:, None] == gallery_labels
    assert report.new_same == pytest.approx(float(cosines[same].mean()), abs=1e-6)
    assert report.new_different == pytest.approx(float(cosines[~same].mean()), abs=1e-6)


def test_a_model_is_compatible_with_itself_though_ties_violate_the_criterion() -> None:
    report = compatibility_report(POINTS, POINTS, POINTS, LABELS, LABELS, cosine_tolerance=0.0, rate_tolerance=0.0)
    assert report.compatible and report.why.startswith("compatible") and (report.same_pairs, report.different_pairs) == (1.0, 1.0)
    assert report.class_pairs.all() and report.query_classes.tolist() == [3, 7]
    matrix = compatibility_matrix([POINTS, POINTS], [POINTS, POINTS], LABELS, LABELS)
    assert matrix.tolist() == [[1.0, 0.0], [1.0, 1.0]] and average_compatibility(matrix) == 0.0


def test_a_rotated_model_is_refused_and_the_line_says_why() -> None:
    turned = POINTS.flip(1)
    report = compatibility_report(turned, POINTS, POINTS, LABELS, LABELS)
    assert not report.compatible and (report.cross_test, report.self_test) == (0.0, 1.0)
    assert "rate of 0.000" in report.why and "within a class falls" in report.why and "between classes rises" in report.why
    assert report.to_json()["compatible"] is False and report.to_json()["new_means"][0][0] == pytest.approx(float(report.new_means[0, 0]))


def test_the_tolerance_is_what_is_taken_for_no_loss() -> None:
    worse = F.normalize(POINTS, dim=1) + torch.tensor([[0.0, 0.25], [0.0, 0.25], [0.25, 0.0], [0.25, 0.0]])
    known = (POINTS, POINTS, LABELS, LABELS)
    assert not compatibility_report(worse, *known, cosine_tolerance=0.0).compatible
    assert compatibility_report(worse, *known, cosine_tolerance=0.5).compatible
    with pytest.raises(InputError, match="0 or more"):
        compatibility_report(worse, *known, rate_tolerance=-0.1)


def test_templates_average_unit_vectors_and_any_integers_name_classes() -> None:
    templates, classes = class_templates(POINTS, LABELS)
    assert classes.tolist() == [3, 7]
    unit = F.normalize(POINTS, dim=1)
    torch.testing.assert_close(templates, F.normalize(torch.stack([unit[:2].mean(dim=0), unit[2:].mean(dim=0)]), dim=1))
    assert identification(POINTS, POINTS, LABELS, LABELS) == 1.0
    assert identification(POINTS, POINTS, LABELS, LABELS.flip(0)) == 0.0
    assert identification(5 * POINTS, 0.1 * POINTS, LABELS, LABELS) == 1.0


def test_metrics_of_hand_made_matrices() -> None:
    better = torch.tensor([[0.5, 0.0, 0.0], [0.6, 0.7, 0.0], [0.55, 0.71, 0.8]])
    assert not violations(better).any() and average_compatibility(better) == 1.0
    assert average_accuracy(better) == pytest.approx((0.5 + 0.6 + 0.7 + 0.55 + 0.71 + 0.8) / 6)
    ties = torch.full((3, 3), 0.5).tril()
    assert int(violations(ties).sum()) == 3 and average_compatibility(ties) == 0.0
    identity = torch.eye(4)
    assert average_compatibility(identity) == 0.0 and average_accuracy(identity) == pytest.approx(0.4)
    mixed = torch.tensor([[0.5, 0.0, 0.0], [0.6, 0.7, 0.0], [0.4, 0.71, 0.8]])
    assert compatibility_curve(mixed) == pytest.approx([1.0, 2 / 3])
    assert accuracy_curve(mixed) == pytest.approx([0.5, 0.6, average_accuracy(mixed)])
    summary = summarise(mixed)
    assert summary.worst_gap == pytest.approx(-0.1) and summary.percent()["AA"] == pytest.approx(100 * average_accuracy(mixed))
    torch.testing.assert_close(summary.gaps[2], torch.tensor([-0.1, 0.01, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)


def test_one_model_has_nothing_to_be_compatible_with() -> None:
    with pytest.warns(UserWarning, match="undefined"):
        assert average_compatibility(torch.tensor([[0.4]])) == 1.0
    summary = summarise(torch.tensor([[0.4]]))
    assert summary.compatibility == 1.0 and "undefined" in summary.note and summary.worst_gap == 0.0
    assert compatibility_curve(torch.tensor([[0.4]])) == []


@given(st.integers(1, 6), st.integers(0, 1000))
def test_compatibility_lies_between_0_and_1_and_each_model_embeds_once(models: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    queries = [torch.randn(8, 3, generator=chance) for _ in range(models)]
    galleries = [torch.randn(6, 3, generator=chance) for _ in range(models)]
    matrix = compatibility_matrix(queries, galleries, torch.arange(8) % 2, torch.arange(6) % 2)
    summary = summarise(matrix)
    assert 0 <= summary.compatibility <= 1 and 0 <= summary.accuracy <= 1 and not matrix.triu(1).any()
    assert matrix[-1, 0] == identification(queries[-1], galleries[0], torch.arange(8) % 2, torch.arange(6) % 2)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (torch.zeros(2, 3), "square"),
        (torch.zeros(0, 0), "square"),
        (torch.ones(2, 2), "lower triangular"),
        (torch.full((2, 2), float("nan")), "finite"),
    ],
)
def test_a_matrix_of_another_form_is_one_line(matrix: Tensor, said: str) -> None:
    for judge in (violations, average_compatibility, average_accuracy, compatibility_curve, accuracy_curve, summarise):
        with pytest.raises(InputError, match=said):
            judge(matrix)


def test_percents_are_not_fractions() -> None:
    with pytest.raises(InputError, match="divide percents"):
        summarise(torch.tensor([[40.0]]))


def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(InputError, match="class 9 has queries and no row"):
        identification(POINTS, POINTS, torch.tensor([3, 3, 7, 9]), LABELS)
    with pytest.raises(InputError, match="class 9 has queries and no row"):
        compatibility_report(POINTS, POINTS, POINTS, torch.tensor([3, 3, 7, 9]), LABELS)
    with pytest.raises(InputError, match="one space"):
        identification(torch.randn(4, 3), POINTS, LABELS, LABELS)
    with pytest.raises(InputError, match="the same queries and in one space"):
        compatibility_report(torch.randn(4, 3), POINTS, POINTS, LABELS, LABELS)
    with pytest.raises(InputError, match="as many whole numbers"):
        identification(POINTS, POINTS, LABELS[:2], LABELS)
    with pytest.raises(InputError, match="NaN"):
        identification(POINTS * float("nan"), POINTS, LABELS, LABELS)
    with pytest.raises(InputError, match="floating-point matrix"):
        class_templates(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="its queries and its gallery"):
        compatibility_matrix([POINTS], [], LABELS, LABELS)
