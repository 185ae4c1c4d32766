from typing import Any

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from ordinate.analyze.linear_probe import LinearProbe
from ordinate.analyze.sliced_probe import SlicedProbe
from ordinate.ground.errors import InputError


@parametrize_with_checks([SlicedProbe(l2=1e-2)])
def test_it_has_scikit_learns_manners(estimator: Any, check: Any) -> None:
    check(estimator)


def _parity(rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, 2)
    return x, (x.sum(dim=1) > 0).long()


def test_one_slice_is_the_linear_probe() -> None:
    x, y = _parity()
    torch.testing.assert_close(SlicedProbe(l2=1e-2).fit(x, y).decide(x), LinearProbe(1e-2).fit(x, y).decide(x).softmax(dim=1))


def test_slices_vote_by_their_mean_probability() -> None:
    x, y = _parity()
    voted = SlicedProbe((1, 1), 1e-2).fit(x, y).decide(x)
    apart = [LinearProbe(1e-2).fit(x[:, i : i + 1], y).decide(x[:, i : i + 1]).softmax(dim=1) for i in range(2)]
    torch.testing.assert_close(voted, (apart[0] + apart[1]) / 2)


def test_what_the_parts_know_together_is_more_than_their_vote() -> None:
    x = torch.randn(400, 2)
    mixed = torch.stack([x[:, 0] + 3 * x[:, 1], -3 * x[:, 1]], dim=1)  # the sum of both is the signal, and each alone mostly noise
    y = (x[:, 0] > 0).long()
    assert LinearProbe(1e-4).fit(mixed, y).score(mixed, y) > SlicedProbe((1, 1), 1e-4).fit(mixed, y).score(mixed, y) + 0.2


def test_labels_of_any_kind_come_back() -> None:
    x, y = _parity()
    names = ["no" if each == 0 else "yes" for each in y.tolist()]
    assert set(SlicedProbe((1, 1), 1e-2).fit(x, names).predict(x)) == {"no", "yes"}


@pytest.mark.parametrize("dims", [(1, 2), (2, 0), (3,)])
def test_slices_that_do_not_add_up_are_refused(dims: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not make up features of 2"):
        SlicedProbe(dims).fit(*_parity())
