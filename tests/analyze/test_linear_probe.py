from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from ordinate.analyze.linear_probe import LinearProbe
from ordinate.analyze.probes import RidgeProbe
from ordinate.ground.errors import InputError


@parametrize_with_checks([LinearProbe(1e-2), LinearProbe((1e-3, 1e-1), "ridge"), LinearProbe(1e-2, "sgd")])
def test_it_has_scikit_learns_manners(estimator: Any, check: Any) -> None:
    check(estimator)


def _data(rows: int = 120, dim: int = 7, classes: int = 3) -> tuple[Any, Any]:
    x = torch.randn(rows, dim, dtype=torch.float64)
    x[:, :3] *= torch.tensor([1.0, 5.0, 0.1])
    y = (x[:, :classes] / torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64) + 0.7 * torch.randn(rows, classes)).argmax(dim=1)
    return x.numpy(), y.numpy()


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_the_logistic_optimum_is_scikit_learns(l2: float) -> None:
    x, y = _data()
    peer = LogisticRegression(C=1 / (len(x) * l2), tol=1e-12, max_iter=20_000, solver="newton-cg").fit(x, y)
    probe = LinearProbe(l2, use_bn=False).fit(x, y)
    torch.testing.assert_close(probe.weight_, torch.from_numpy(peer.coef_), atol=2e-5, rtol=2e-5)


def test_its_gradient_vanishes_with_more_features_than_rows() -> None:
    x, y = _data(30, 80)
    probe = LinearProbe(1e-3, use_bn=False).fit(x, y)
    p, hot = probe.decide(x).softmax(dim=1), torch.nn.functional.one_hot(torch.from_numpy(y), 3)
    gradient = (p - hot).T @ torch.from_numpy(x) / 30 + 1e-3 * probe.weight_
    assert gradient.abs().max() < 1e-7 and (p - hot).mean(dim=0).abs().max() < 1e-7


def test_ridge_is_the_ridge_probe() -> None:
    x, y = _data()
    torch.testing.assert_close(LinearProbe(1e-2, "ridge").fit(x, y).decide(x), RidgeProbe(1e-2).fit(x, y).decide(x))


@pytest.mark.parametrize("solver", ["newton", "ridge"])
@pytest.mark.parametrize("use_bn", [True, False])
def test_copies_of_a_representation_have_the_optimum_of_one_with_the_penalty_times_their_number(solver: str, use_bn: bool) -> None:
    x, y = (torch.from_numpy(each) for each in _data())
    one = LinearProbe(1e-2, solver, use_bn).fit(x, y)
    three = LinearProbe(3e-2, solver, use_bn).fit(torch.cat([x, x, x], dim=1), y)
    torch.testing.assert_close(three.decide(torch.cat([x, x, x], dim=1)), one.decide(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ["newton", "ridge"])
def test_the_order_of_the_members_does_not_matter(solver: str) -> None:
    x, y = (torch.from_numpy(each) for each in _data())
    turned = torch.cat([x[:, 4:], x[:, :4]], dim=1)
    torch.testing.assert_close(
        LinearProbe(1e-4, solver).fit(turned, y).decide(turned), LinearProbe(1e-4, solver).fit(x, y).decide(x), atol=1e-5, rtol=1e-5
    )


def test_scales_do_not_count_where_features_are_normalised() -> None:
    x, y = _data()
    scaled = x * [1, 1e3, 1e-3, 1, 1, 7, 1] + 5
    torch.testing.assert_close(LinearProbe(1e-2).fit(scaled, y).decide(scaled), LinearProbe(1e-2).fit(x, y).decide(x), atol=1e-6, rtol=1e-6)


def test_a_constant_feature_and_repeated_rows_do_no_harm() -> None:
    x, y = (torch.from_numpy(each) for each in _data())
    wider = torch.cat([x, torch.full((len(x), 1), 3.0)], dim=1)
    torch.testing.assert_close(LinearProbe(1e-2).fit(wider, y).decide(wider), LinearProbe(1e-2).fit(x, y).decide(x))
    twice = LinearProbe(1e-2).fit(torch.cat([x, x]), torch.cat([y, y]))
    torch.testing.assert_close(twice.decide(x), LinearProbe(1e-2).fit(x, y).decide(x), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("solver", ["newton", "ridge", "sgd"])
def test_the_penalty_is_chosen_on_held_out_rows_and_reported(solver: str) -> None:
    x, y = load_digits(return_X_y=True)
    x, y = x[:200].astype("float32"), y[:200]
    probe = LinearProbe((1e-4, 1e-2, 1e2), solver).fit(x, y)
    assert list(probe.scores_) == [1e2, 1e-2, 1e-4] and probe.scores_[probe.l2_] == max(probe.scores_.values())
    again = LinearProbe(probe.l2_, solver).fit(x, y)
    torch.testing.assert_close(again.decide(x), probe.decide(x), atol=1e-5, rtol=1e-5)
    assert not again.scores_


def test_of_equal_penalties_the_largest_is_taken() -> None:
    x = torch.tensor([[-9.0], [-8.0], [8.0], [9.0]])
    assert LinearProbe((1e-3, 1e-2)).fit(x, [0, 0, 1, 1]).l2_ == 1e-2


def test_the_papers_recipe_learns_what_can_be_told_apart() -> None:
    x, y = load_digits(return_X_y=True)
    assert LinearProbe(1e-4, "sgd").fit(x[:1000], y[:1000]).score(x[1000:], y[1000:]) > 0.85


def test_as_a_layer_it_gives_the_same_logits() -> None:
    x, y = _data()
    probe = LinearProbe(1e-2).fit(x, y)
    torch.testing.assert_close(probe.to_linear()(torch.from_numpy(x).float()).double(), probe.decide(x), atol=1e-4, rtol=1e-4)


def test_what_is_wrong_is_one_line() -> None:
    x, y = _data()
    for probe, match in (
        (LinearProbe(0.0), "positive"),
        (LinearProbe(()), "positive"),
        (LinearProbe((1.0, float("inf"))), "positive"),
        (LinearProbe(1.0, "neton"), "did you mean newton"),
    ):
        with pytest.raises(InputError, match=match):
            probe.fit(x, y)
    with pytest.raises(InputError, match="one row a class"):
        LinearProbe().fit(x[:2], [0, 1])
    with pytest.raises(InputError, match="1 class"):
        LinearProbe().fit(x, [0] * len(x))
