import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as OneRidge
from sklearn.neighbors import KNeighborsRegressor

from ordinate.analyze.in_context.predictors import (
    Bayes,
    Correlation,
    GradientDescent,
    LeastSquares,
    Neighbours,
    OnePass,
    Predictor,
    Ridge,
    Zero,
    online_ridge,
)
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

ALL = [
    Zero(),
    LeastSquares(),
    Ridge(0.3),
    Bayes(0.2, 2.0),
    Bayes(0.0),
    GradientDescent(0.02),
    GradientDescent(0.02, 4, 0.1, averaged=True),
    OnePass(0.05, 0.1),
    OnePass(0.05, growing=True, clip=20.0),
    Correlation(),
    Neighbours(3),
    Neighbours(2, "inverse-square"),
]


def drawn(d: int = 3, n: int = 7, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    prompts = LinearPrompts(d, n, noise=noise).sample(4, generator(d, n))
    return prompts.x.double(), prompts.y.double()


@given(d=st.integers(1, 5), n=st.integers(1, 9))
@settings(max_examples=12)
def test_least_squares_and_ridge_are_those_of_scikit_learn(d: int, n: int) -> None:
    x, y = drawn(d, n)
    ours = {"ols": LeastSquares()(x, y), "ridge": Ridge(0.3)(x, y)}
    assert (ours["ols"][:, 0] == 0).all()
    for row in range(len(x)):
        for pairs in range(1, n):
            for name, fit in (("ols", LinearRegression(fit_intercept=False)), ("ridge", OneRidge(0.3, fit_intercept=False))):
                wanted = float(fit.fit(x[row, :pairs].numpy(), y[row, :pairs].numpy()).predict(x[row, pairs : pairs + 1].numpy())[0])
                assert float(ours[name][row, pairs]) == pytest.approx(wanted, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("weighting", ["uniform", "inverse", "inverse-square"])
def test_neighbours_are_those_of_scikit_learn(k: int, weighting: str) -> None:
    x, y = drawn()
    ours = Neighbours(k, weighting)(x, y)
    theirs = {"uniform": "uniform", "inverse": "distance", "inverse-square": lambda distance: distance**-2.0}[weighting]
    for row in range(len(x)):
        for pairs in range(1, 7):
            fit = KNeighborsRegressor(min(k, pairs), weights=theirs).fit(x[row, :pairs], y[row, :pairs])
            assert float(ours[row, pairs]) == pytest.approx(float(fit.predict(x[row, pairs : pairs + 1])[0]), rel=1e-9)


def test_a_neighbour_at_the_query_itself_answers_alone() -> None:
    x, y = torch.tensor([[[0.0], [1.0], [0.0]]]), torch.tensor([[5.0, 7.0, 0.0]])
    for weighting in ("inverse", "inverse-square"):
        assert Neighbours(2, weighting)(x, y)[0].tolist() == [0, 5, 5]


@pytest.mark.parametrize("rank", [1, 2])
def test_least_squares_survives_inputs_that_repeat_each_other(rank: int) -> None:
    """Prefixes that never span the space, where normal equations are singular."""
    basis = torch.randn(1, rank, 4, dtype=torch.float64)
    x = torch.randn(3, 9, rank, dtype=torch.float64) @ basis
    y = torch.randn(3, 9, dtype=torch.float64)
    weights = LeastSquares().weights(x, y)
    for pairs in range(9):
        torch.testing.assert_close(
            weights[:, pairs], (torch.linalg.pinv(x[:, :pairs], rtol=1e-10) @ y[:, :pairs, None])[..., 0], atol=1e-8, rtol=1e-8
        )


def test_ridge_by_rank_one_updates_is_the_direct_solution_and_tends_to_least_squares() -> None:
    x, y = drawn(4, 10)
    outputs = torch.stack((y, y.square()), dim=2)
    weights = online_ridge(x, outputs, 0.7)
    for pairs in range(10):
        gram = x[:, :pairs].mT @ x[:, :pairs] + 0.7 * torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(weights[:, pairs], torch.linalg.solve(gram, x[:, :pairs].mT @ outputs[:, :pairs]), atol=1e-9, rtol=1e-9)
    # Also where fewer pairs than dimensions leave a choice: there it tends to the solution of least norm.
    for prefixes in (slice(1, 4), slice(4, 5), slice(7, None)):
        far, near = ((Ridge(penalty).weights(x, y) - LeastSquares().weights(x, y))[:, prefixes].abs().max() for penalty in (1e-6, 1e-8))
        assert near < 0.05 * far and near < 1e-4


def test_descent_is_written_out() -> None:
    x, y = drawn()
    close = {"atol": 1e-8, "rtol": 1e-8}
    torch.testing.assert_close(GradientDescent(0.1).weights(x, y)[:, 5], 0.2 * (x[:, :5].mT @ y[:, :5, None])[..., 0], **close)
    w = torch.zeros(4, 3, dtype=torch.float64)
    for _ in range(3):
        w = w - 0.04 * ((x[:, :5].mT @ (x[:, :5] @ w[..., None] - y[:, :5, None]))[..., 0] + 0.3 * w)
    torch.testing.assert_close(GradientDescent(0.02, 3, 0.3).weights(x, y)[:, 5], w, **close)
    many = GradientDescent(0.02, 4_000).weights(x, y)
    torch.testing.assert_close(many[:, 6], LeastSquares().weights(x, y)[:, 6], **close)
    w = torch.zeros(4, 3, dtype=torch.float64)
    for row in range(4):
        w = w - 0.1 * (x[:, row] * ((x[:, row] * w).sum(1) - y[:, row])[:, None] + 0.2 * w)
    torch.testing.assert_close(OnePass(0.05, 0.2).weights(x, y)[:, 4], w, **close)
    torch.testing.assert_close(Correlation().weights(x, y)[:, 4], (x[:, :4] * y[:, :4, None]).mean(1), **close)


def test_a_clipped_step_is_no_longer_than_its_bound() -> None:
    x, y = drawn()
    steps = OnePass(0.05, growing=True, clip=0.5).weights(x, 100 * y).diff(dim=1)
    assert float(steps.abs().max()) == pytest.approx(0.025)


@pytest.mark.parametrize("predictor", ALL, ids=lambda each: each.name)
def test_answers_depend_on_earlier_pairs_alone_and_queries_agree_with_the_prompt(predictor: Predictor) -> None:
    x, y = drawn()
    said = predictor(x, y)
    assert said.dtype == torch.float64 and (said[:, 0] == 0).all() and said.isfinite().all()
    changed_x, changed_y = x.clone(), y.clone()
    changed_y[:, 4] += 3
    changed_x[:, 5] += 1
    torch.testing.assert_close(predictor(changed_x, changed_y)[:, :5], said[:, :5], atol=1e-12, rtol=0)
    torch.testing.assert_close(predictor.answer(x, y, x[:, :, None].expand(-1, -1, 2, -1))[..., 1], said)


def test_nothing_beats_bayes_on_its_own_prompts() -> None:
    prompts = LinearPrompts(3, 8, noise=0.7).sample(4_000, generator(1))
    bayes = (Bayes(0.49)(prompts.x, prompts.y) - prompts.y).square()
    for predictor in ALL:
        worse = (predictor(prompts.x, prompts.y) - prompts.y).square() - bayes
        assert (worse.mean(0) > -3 * worse.std(0) / 4_000**0.5 - 1e-12).all(), predictor.name
    assert float(bayes[:, 0].mean()) == pytest.approx(3 + 0.49, rel=0.06)


@pytest.mark.parametrize(("noise", "prior"), [(0.3, 0.25), (0.6, 4.0)])
def test_bayes_is_ridge_at_the_ratio_of_the_variances_and_best_at_it(noise: float, prior: float) -> None:
    d, draws = 3, generator(2)
    x = torch.randn(6_000, 6, d, generator=draws, dtype=torch.float64)
    weight = prior**0.5 * torch.randn(6_000, d, 1, generator=draws, dtype=torch.float64)
    y = (x @ weight)[..., 0] + noise**0.5 * torch.randn(6_000, 6, generator=draws, dtype=torch.float64)
    bayes = Bayes(noise, prior)
    assert torch.equal(bayes.weights(x, y), Ridge(noise / prior).weights(x, y))
    loss = (bayes(x, y) - y).square()
    assert float(loss[:, 0].mean()) == pytest.approx(prior * d + noise, rel=0.06)  # nothing is known before the first pair
    for other in (Bayes(noise), Bayes(noise, prior**2)):
        worse = ((other(x, y) - y).square() - loss)[:, 1:].mean(dim=1)
        assert float(worse.mean()) > 3 * float(worse.std()) / 6_000**0.5


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Neighbours(0), "k must be at least 1"),
        (lambda: Neighbours(3, "far"), "weighting"),
        (lambda: Ridge(0.0), "must be positive"),
        (lambda: Bayes(-1.0), "variances"),
        (lambda: GradientDescent(0.0), "positive rate"),
        (lambda: GradientDescent(0.1, 0), "at least 1 step"),
        (lambda: OnePass(0.1, -1.0), "penalty of 0 or more"),
        (lambda: OnePass(0.1, clip=0.0), "clip must be positive"),
        (lambda: Zero()(torch.zeros(2, 0, 4), torch.zeros(2, 0)), "at least one pair"),
    ],
)
def test_what_is_no_predictor_is_one_line(make: object, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()  # type: ignore[operator]
