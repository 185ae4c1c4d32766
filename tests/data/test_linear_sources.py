from functools import partial

import pytest
import torch

from ordinate.data.linear_sources import LinearSources, SourceSampler, near_duplicates, strong_and_weak
from ordinate.ground.errors import InputError


@pytest.mark.parametrize("make", [strong_and_weak, near_duplicates])
def test_tasks_share_their_space_and_the_strong_give_the_target(make) -> None:
    problem = make(3, inputs=9, rank=3, tasks=12)
    assert problem.sources.shape == (12, 9) and int(torch.linalg.matrix_rank(problem.sources)) == 3
    W, w = problem.heads()
    torch.testing.assert_close(W.norm(dim=0), problem.sources.norm(dim=1))
    strong = 2 if make is strong_and_weak else 3
    torch.testing.assert_close(W[:, :strong].sum(dim=1), w)
    torch.testing.assert_close(problem.sources.norm(dim=1), torch.tensor([1.0] * strong + [0.2] * (12 - strong)).double())
    assert torch.equal(make(3, inputs=9, rank=3, tasks=12).sources, problem.sources)
    assert not torch.equal(make(4, inputs=9, rank=3, tasks=12).sources, problem.sources)


def test_duplicates_are_near_each_other_and_the_target() -> None:
    problem = near_duplicates(0)
    direction = problem.target / problem.target.norm()
    assert bool((problem.sources[4:] @ direction / 0.2 > 0.99).all())


def test_a_sample_is_the_same_however_many_are_drawn_at_once() -> None:
    problem = strong_and_weak(0, inputs=5, rank=2, tasks=4)
    whole, parts = SourceSampler(problem, 1), SourceSampler(problem, 1)
    X, y = whole(2, 10)
    pieces = [parts(2, 4), parts(0, 3), parts(2, 6)]
    torch.testing.assert_close(torch.cat([pieces[0][0], pieces[2][0]]), X)
    torch.testing.assert_close(torch.cat([pieces[0][1], pieces[2][1]]), y)
    assert whole.given[2] == 10 and parts.given[0] == 3
    assert not torch.equal(whole(1, 10)[0], X) and not torch.equal(SourceSampler(problem, 2)(2, 10)[0], X)


def test_targets_are_linear_with_noise() -> None:
    problem = strong_and_weak(0, inputs=5, rank=2, tasks=4, noise=0.5)
    X, y = SourceSampler(problem, 0)(-1, 20_000)
    assert float((y - X @ problem.target).std()) == pytest.approx(0.5, rel=0.03)
    torch.testing.assert_close(X.mT @ X / len(X), problem.covariance, atol=0.05, rtol=0)


def test_inputs_may_come_from_a_pool() -> None:
    pool = torch.randn(7, 2).double()
    problem = LinearSources("pooled", torch.eye(2).double(), torch.ones(2).double(), 2, 0.0, pool)
    X, y = SourceSampler(problem, 0)(0, 50)
    assert all(any(torch.equal(row, each) for each in pool) for row in X) and torch.equal(y, X[:, 0])
    torch.testing.assert_close(problem.covariance, pool.mT @ pool / 7)


def test_bad_input_is_refused() -> None:
    for call in (partial(strong_and_weak, 0, strong=5), partial(strong_and_weak, 0, rank=31), partial(near_duplicates, 0, rank=0)):
        with pytest.raises(InputError, match="there are 1 <="):
            call()
    with pytest.raises(InputError, match="there is no task 40"):
        SourceSampler(strong_and_weak(0), 0)(40, 3)
