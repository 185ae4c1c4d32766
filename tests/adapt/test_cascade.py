from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.adapt.cascade import ConfidenceCascade, flip_summed
from ordinate.ground.errors import InputError


def _probabilities(sizes: int, items: int, classes: int, seed: int = 0) -> Tensor:
    logits = torch.randn(sizes, items, classes, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, sizes + 1)[:, None, None]
    return logits.softmax(2)


def _by_hand(probabilities: Tensor, labels: Tensor, low: int) -> float:
    """The smallest threshold of the best two-level accuracy, in plain loops."""
    best, chosen = -1, None
    for t in torch.linspace(0.1, 1, 100, dtype=torch.float64).tolist():
        right = 0
        for item, label in enumerate(labels.tolist()):
            level = low if float(probabilities[low, item].max()) > t else low + 1
            right += int(probabilities[level, item].argmax()) == label
        if right > best:
            best, chosen = right, t
    return chosen


def test_the_thresholds_are_those_of_plain_loops() -> None:
    probabilities, labels = _probabilities(3, 40, 4), torch.arange(40) % 4
    cascade = ConfidenceCascade([2, 4, 8]).fit(probabilities, labels)
    assert cascade.thresholds.tolist() == [_by_hand(probabilities, labels, low) for low in range(2)]


def test_each_item_is_answered_by_its_first_confident_size() -> None:
    cascade = ConfidenceCascade([2, 4, 8])
    cascade.thresholds = torch.tensor([0.6, 0.6], dtype=torch.float64)
    p = (
        torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.5, 0.5]]),
        torch.tensor([[0.2, 0.8], [0.2, 0.8], [0.6, 0.4]]),
        torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.9, 0.1]]),
    )
    predicted, levels = cascade.predict(torch.stack(p))
    assert levels.tolist() == [0, 1, 2] and predicted.tolist() == [0, 1, 0]  # 0.6 is not above 0.6
    predicted, levels = cascade.predict(torch.stack(p), max_level=1)
    assert levels.tolist() == [0, 1, 1] and predicted.tolist() == [0, 1, 0]
    assert cascade.expected_dim(torch.tensor([0, 1, 2])) == pytest.approx((2 + 4 + 8) / 3)
    assert cascade.expected_dim(torch.tensor([0, 1, 2]), cumulative=True) == pytest.approx((2 + 6 + 14) / 3)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(2, 5), st.data())
@settings(max_examples=25)
def test_thresholds_of_one_ask_the_cap_and_thresholds_below_chance_ask_the_first(
    sizes: int, items: int, classes: int, data: st.DataObject
) -> None:
    cascade, probabilities = ConfidenceCascade([1 << place for place in range(sizes)]), _probabilities(sizes, items, classes)
    cap = data.draw(st.integers(0, sizes - 1))
    cascade.thresholds = torch.full((sizes - 1,), 1.0, dtype=torch.float64)
    predicted, levels = cascade.predict(probabilities, cap)
    assert torch.all(levels == cap) and torch.equal(predicted, probabilities[cap].argmax(1))
    cascade.thresholds = torch.full((sizes - 1,), 1 / classes - 1e-3, dtype=torch.float64)
    predicted, levels = cascade.predict(probabilities, cap)
    assert torch.all(levels == 0) and torch.equal(predicted, probabilities[0].argmax(1))


def test_a_useless_first_size_is_skipped_and_a_perfect_one_is_used() -> None:
    labels = torch.arange(30) % 3
    sure = torch.nn.functional.one_hot(labels, 3).float() * 0.9 + 0.1 / 3
    wrong = torch.roll(sure, 1, dims=1)
    poor = ConfidenceCascade([2, 4]).fit(torch.stack([wrong, sure]), labels)
    assert poor.predict(torch.stack([wrong, sure]))[1].tolist() == [1] * 30
    good = ConfidenceCascade([2, 4]).fit(torch.stack([sure, sure]), labels)
    assert good.thresholds.item() == pytest.approx(0.1) and good.predict(torch.stack([sure, sure]))[1].tolist() == [0] * 30


def test_logits_of_an_image_and_its_mirror_image_are_summed() -> None:
    images, weight = torch.randn(2, 1, 2, 3), torch.randn(6, 4)
    logits_of = lambda x: (x.flatten(1) @ weight)[None]  # noqa: E731
    found = flip_summed(logits_of, images)
    assert found.shape == (1, 2, 4)
    torch.testing.assert_close(found, logits_of(images) + logits_of(images.flip(3)))
    torch.testing.assert_close(found, flip_summed(logits_of, images.flip(3)))


def test_bad_input_is_one_clear_line() -> None:
    probabilities, labels = _probabilities(2, 10, 3), torch.zeros(10, dtype=torch.int64)
    cascade = ConfidenceCascade([2, 4])
    with pytest.raises(InputError, match="call fit"):
        cascade.predict(probabilities)
    cascade.fit(probabilities, labels)
    with pytest.raises(InputError, match=r"takes probabilities \(2, items, classes\)"):
        cascade.predict(_probabilities(3, 10, 3))
    with pytest.raises(InputError, match="softmax"):
        cascade.predict(probabilities * 3)
    with pytest.raises(InputError, match="softmax"):
        cascade.fit(probabilities * torch.nan, labels)
    with pytest.raises(InputError, match="labels of shape"):
        unwrap(ConfidenceCascade.fit)(cascade, probabilities, labels[:5])
    with pytest.raises(InputError, match="max_level"):
        cascade.predict(probabilities, 2)
    with pytest.raises(InputError, match="ascend"):
        ConfidenceCascade([4, 2])
    with pytest.raises(InputError, match="grid"):
        ConfidenceCascade([2, 4], torch.tensor([0.5, 0.5]))
    with pytest.raises(InputError, match="no items"):
        cascade.expected_dim(torch.zeros(0, dtype=torch.int64))
