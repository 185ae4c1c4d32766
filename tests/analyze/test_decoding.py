import pytest
import torch

from ordinate.analyze.decoding import control_labels, cross_predict, decoding
from ordinate.ground.errors import InputError


def test_what_lies_in_a_line_is_decoded_by_both_and_what_does_not_by_the_mlp_alone() -> None:
    x = torch.randn(300, 2)
    line, parity = (x[:, 0] > 0).long(), ((x > 0).sum(dim=1) % 2)
    assert decoding(x, line).accuracy > 0.95
    assert decoding(x, parity).accuracy < 0.65
    found = decoding(x, parity, probe="mlp", folds=3)
    assert found.accuracy > 0.85 and found.control < 0.65 and found.selectivity > 0.25 and found.low <= found.accuracy <= found.high


def test_every_example_is_predicted_once_by_another_fold() -> None:
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    guess, fold = cross_predict(x, y, folds=4)
    assert guess.shape == (60,) and sorted(fold.bincount().tolist()) == [15, 15, 15, 15]
    assert torch.equal(guess, cross_predict(x, y, folds=4)[0])


def test_a_control_task_gives_every_type_one_class_and_types_can_be_memorised() -> None:
    types = torch.arange(400) % 8
    labels = (types > 3).long()
    control = control_labels(labels, types, seed=1)
    assert all(len(control[types == kind].unique()) == 1 for kind in range(8))
    phi = torch.nn.functional.one_hot(types).float()
    assert decoding(phi, labels, types=types, seed=1).selectivity == pytest.approx(0.0, abs=1e-9)
    assert decoding(phi, labels, seed=1).selectivity > 0.3


def test_recovered_runs_from_chance_to_certainty() -> None:
    y = torch.arange(200) % 2
    assert decoding(y[:, None] + 0.0, y).recovered == 1.0
    assert abs(decoding(torch.randn(200, 3), y).recovered) < 0.3


def test_labels_keep_their_names() -> None:
    y = torch.tensor([7, -2] * 20)
    assert set(cross_predict(y[:, None] + 0.0, y)[0].tolist()) == {7, -2}


def test_bad_input_is_refused() -> None:
    x, y = torch.randn(30, 2), torch.arange(30) % 2
    for arguments, options, why in (
        ((x, torch.ones(30)), {}, "constant"),
        ((x, y), {"folds": 16}, "rarest class has 15 examples"),
        ((x, y), {"folds": 1}, "2 or more"),
        ((x, y[:20]), {}, "30 examples, and 20 labels"),
        ((x, y), {"probe": "quadratic"}, "unknown probe"),
        ((x, y), {"types": y[:3]}, "types of 3 examples"),
        ((torch.randn(30, 2, 2), y), {}, "pool it first"),
    ):
        with pytest.raises(InputError, match=why):
            decoding(*arguments, **options)
