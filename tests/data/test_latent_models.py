import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.latent_models import CubeProblem, FactorProblem, MixtureProblem, PairsProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def test_factor_rows_have_the_covariance_and_the_best_predictor_is_least_squares_of_all_rows() -> None:
    problem = FactorProblem.draw(6, (2.0, 1.0), generator(0))
    x, y = problem.sample(200_000, generator(1))
    torch.testing.assert_close(x.mT @ x / len(x), problem.covariance, atol=0.05, rtol=0)
    fitted = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    torch.testing.assert_close(fitted, problem.best, atol=0.01, rtol=0)
    assert torch.linalg.svdvals(problem.loadings).tolist() == pytest.approx([2.0, 1.0])


def test_pairs_agree_as_their_features_do_and_labels_follow_the_features() -> None:
    problem = PairsProblem.draw(5, 2, generator(0))
    first, second, signs = problem.pairs(100_000, generator(1))
    inner = ((first @ problem.theta.mT) * (second @ problem.theta.mT)).sum(dim=1)
    for low, high in ((-3, -1), (-1, 1), (1, 3)):
        kept = (inner > low) & (inner < high)
        assert float(signs[kept].mean()) == pytest.approx(float(inner[kept].sigmoid().mean()), abs=0.02)
    x, y = problem.sample(100_000, generator(2))
    torch.testing.assert_close(torch.linalg.lstsq(x, y[:, None]).solution[:, 0], problem.best, atol=0.05, rtol=0)


@given(st.integers(2, 6), st.integers(0, 5))
def test_mixtures_are_as_far_apart_as_asked_and_use_every_class(classes: int, more: int) -> None:
    problem = MixtureProblem.draw(3, classes + more, classes, generator(classes, more), separation=4.0)
    assert float(torch.pdist(problem.centres).min()) == pytest.approx(4.0)
    assert sorted(set(problem.table.tolist())) == list(range(classes))
    probabilities = problem.probabilities(problem.inputs(10, generator(0)))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(10, dtype=torch.float64))


def test_labels_of_a_mixture_are_flipped_as_often_as_said() -> None:
    problem = MixtureProblem.draw(4, 3, 3, generator(0), separation=20.0, flips=0.2)
    x, y = problem.sample(20_000, generator(1))
    truth = problem.probabilities(x)
    assert float((truth.argmax(dim=1) != y).double().mean()) == pytest.approx(0.2, abs=0.01)
    assert float(truth.max()) == pytest.approx(0.8)


def test_the_cube_says_nothing_but_its_label_does() -> None:
    problem = CubeProblem(4, 2, flips=0.1)
    x, y = problem.sample(20_000, generator(0))
    assert set(x.unique().tolist()) == {-1.0, 1.0} and float(x.mean(dim=0).abs().max()) < 0.03
    agree = ((x > 0) == (y[:, None] > 0)).double().mean(dim=0)
    assert agree.argmax() == 2 and float(agree[2]) == pytest.approx(0.9, abs=0.01)
    assert float(problem.probabilities(x[:1]).sum()) == pytest.approx(1.0)


def test_a_draw_is_a_function_of_its_seed() -> None:
    one, other = (FactorProblem.draw(5, (1.0,), generator("x", 1)).sample(3, generator("y", 1)) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_problems_that_are_none_are_refused() -> None:
    chance = generator(0)
    for call in (
        lambda: FactorProblem.draw(2, (1.0, 1.0), chance),
        lambda: FactorProblem.draw(3, (1.0, 0.0), chance),
        lambda: PairsProblem.draw(2, 2, chance),
        lambda: PairsProblem.draw(3, 1, chance, signal=0.0),
        lambda: MixtureProblem.draw(2, 2, 3, chance),
        lambda: MixtureProblem.draw(2, 3, 3, chance, flips=0.7),
        lambda: CubeProblem(3, 3),
        lambda: CubeProblem(3, 0, flips=0.5),
    ):
        with pytest.raises(InputError):
            call()
