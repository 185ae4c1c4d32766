from inspect import unwrap

import pytest
import torch

from ordinate.analyze.nesting import class_trend, few_shot_curve, oracle_routing, size_curve, superclass_accuracy
from ordinate.analyze.probes import ClassMeanProbe
from ordinate.ground.errors import InputError


def test_the_oracle_takes_the_smallest_right_size() -> None:
    correct = torch.tensor([[1, 0, 0, 0, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], dtype=torch.bool)
    found = oracle_routing(correct, [2, 4, 8])
    assert found.accuracy == pytest.approx(0.8) and found.full_accuracy == pytest.approx(0.6) and found.gain == pytest.approx(0.2)
    assert found.wrong_everywhere == pytest.approx(0.2)
    assert found.answered_by == pytest.approx({2: 0.4, 4: 0.2, 8: 0.2})
    assert found.expected_dim == pytest.approx((2 + 2 + 4 + 8) / 4)


def test_an_oracle_with_nothing_right_has_no_expected_size() -> None:
    found = oracle_routing(torch.zeros(2, 3, dtype=torch.bool), [1, 2])
    assert found.accuracy == 0 and found.expected_dim != found.expected_dim


def test_the_trend_of_classes() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    predictions = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 0]])
    found = class_trend(predictions, labels, 3)
    assert found.accuracy[:, :2].tolist() == [[0, 1], [0.5, 1], [1, 0.5]] and found.accuracy[:, 2].isnan().all()
    assert found.slope[:2].tolist() == [0.5, -0.25] and found.slope[2].isnan()
    assert found.best.tolist() == [2, 0, 0]


def test_superclasses_forgive_confusions_inside_them() -> None:
    labels, predictions = torch.tensor([0, 1, 2, 3]), torch.tensor([[1, 0, 3, 3], [2, 1, 2, 3]])
    assert superclass_accuracy(predictions, labels, torch.tensor([0, 0, 1, 1])).tolist() == [1.0, 0.75]
    assert superclass_accuracy(predictions, labels, torch.tensor([0, 0, -1, -1])).tolist() == [1.0, 0.5]


def _clusters(items: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    labels = torch.arange(items) % 3
    centres = torch.tensor([[1.0, 0, 0, 5], [1.0, 0, 5, 0], [1.0, 0, -5, -5]])
    return centres[labels] + 0.1 * torch.randn(items, 4, generator=made), labels


def test_curves_rise_where_the_features_tell_the_classes() -> None:
    (train, train_labels), (test, test_labels) = _clusters(60, 0), _clusters(30, 1)
    curve = size_curve(train, train_labels, test, test_labels, [2, 3, 4])
    assert list(curve) == [2, 3, 4] and curve[4] == 1.0 and curve[2] < 0.7
    shots = few_shot_curve(train, train_labels, test, test_labels, [2, 4], shots=2)
    assert shots[4] == 1.0 and shots == few_shot_curve(train, train_labels, test, test_labels, [2, 4], shots=2)
    assert few_shot_curve(train, train_labels, test, test_labels, [4], shots=20) == size_curve(
        train, train_labels, test, test_labels, [4], ClassMeanProbe
    )


def test_bad_input_is_one_clear_line() -> None:
    train, labels = _clusters(12, 0)
    with pytest.raises(InputError, match=r"2 sizes need answers \(2, items\)"):
        oracle_routing(torch.ones(3, 4, dtype=torch.bool), [1, 2])
    with pytest.raises(InputError, match="between 1 and 4"):
        size_curve(train, labels, train, labels, [5])
    with pytest.raises(InputError, match="at least 9 training embeddings"):
        few_shot_curve(train, labels, train, labels, [4], shots=9)
    with pytest.raises(InputError, match="between 0 and 1, not 0 to 2"):
        class_trend(labels[None], labels, 2)
    with pytest.raises(InputError, match="do not fit"):
        unwrap(class_trend)(labels[None, :5], labels, 3)
    with pytest.raises(InputError, match="no item belongs"):
        superclass_accuracy(labels[None], labels, torch.tensor([-1, -1, -1]))
