import itertools

import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from ordinate.analyze.active_mtrl import ActiveMTRL, choose_penalty, estimate_relevance
from ordinate.analyze.relevance import relevance
from ordinate.analyze.transfer_risk import excess_risk
from ordinate.data.linear_sources import LinearSources, SourceSampler, strong_and_weak
from ordinate.ground.errors import InputError
from ordinate.models.linear_mtrl import LinearMTRL

TASKS = 12


@pytest.fixture
def problem() -> LinearSources:
    return strong_and_weak(0, inputs=10, rank=3, tasks=TASKS)


def active(problem: LinearSources, budget: float = 1_200, **options) -> tuple[ActiveMTRL, SourceSampler]:
    sampler = SourceSampler(problem, 0)
    model = ActiveMTRL(LinearMTRL(3, intercept=False), budget, tasks=TASKS, **{"explore": 0.3, **options})
    return model.fit(sampler, sampler(-1, 200)), sampler


@pytest.mark.parametrize("rule", ["l1", "l2", "uniform"])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_what_is_bought_is_what_is_drawn_and_the_budget(problem: LinearSources, rule: str, rounds: int) -> None:
    model, sampler = active(problem, rule=rule, rounds=rounds, minimum=5)
    assert [sampler.given[task] for task in range(TASKS)] == model.allocation_.tolist()
    assert int(model.allocation_.sum()) == 1_200 and int(model.allocation_.min()) >= 5
    assert len(model.history_) == rounds
    torch.testing.assert_close(sum(turn.bought for turn in model.history_), model.allocation_)
    first = 1_200 if rounds == 1 else 360
    assert int(model.history_[0].bought.sum()) == first
    bought = [int(turn.bought.sum()) for turn in model.history_[1:]]
    assert all(abs(after - 2 * before) <= 2 for before, after in itertools.pairwise(bought))


def test_the_strong_sources_are_found_and_the_target_is_learnt(problem: LinearSources) -> None:
    model, _ = active(problem, minimum=5)
    even, _ = active(problem, rule="uniform")
    assert set(model.allocation_.topk(2).indices.tolist()) == {0, 1}
    assert int((model.relevance_ != 0).sum()) <= 3

    def risk(fitted: ActiveMTRL) -> float:
        return excess_risk(fitted.learner_.B @ fitted.head_, problem.target)

    assert risk(model) < risk(even)
    X, y = SourceSampler(problem, 7)(-1, 2_000)
    assert float((model.predict(X) - y).square().mean()) == pytest.approx(0.25 + risk(model), rel=0.15)


def test_known_relevances_leave_nothing_to_explore(problem: LinearSources) -> None:
    nu = relevance(*problem.heads())
    model, _ = active(problem, known=nu, minimum=10)
    assert len(model.history_) == 1 and torch.equal(model.relevance_, nu)
    assert model.allocation_.tolist() == [550, 550] + [10] * 10


def test_few_sources_are_bought_of_alone(problem: LinearSources) -> None:
    for share in ("proportional", "equal"):
        model, _ = active(problem, rule="l2", k_tasks=2, share=share)
        second = model.history_[1].bought
        assert int((second > 0).sum()) == 2
        assert share != "equal" or int(second.max() - second.sort().values[-2]) <= 1


def test_prices_and_caps_hold_over_all_rounds(problem: LinearSources) -> None:
    costs = torch.where(torch.arange(TASKS) == 0, 4.0, 1.0).double()
    model, _ = active(problem, costs=costs, rounds=3, minimum=3)
    assert 1_200 - 4 < float((model.allocation_ * costs).sum()) <= 1_200 + 1e-6
    capped, _ = active(problem, caps=torch.full((TASKS,), 150), minimum=3, budget=900, rule="l2")
    assert int(capped.allocation_.max()) <= 150 and int(capped.allocation_.sum()) == 900


@pytest.mark.parametrize("penalty", ["auto", "cv", 0.05])
def test_penalties_may_be_found(problem: LinearSources, penalty: str | float) -> None:
    model, _ = active(problem, penalty=penalty)
    assert model.history_[1].penalty > 0 and set(model.allocation_.topk(2).indices.tolist()) == {0, 1}
    assert penalty != 0.05 or model.history_[1].penalty == 0.05


def test_a_rough_exploration_is_hedged_and_said(problem: LinearSources) -> None:
    rough, _ = active(problem, explore=0.04)
    assert "4 samples a source" in rough.history_[1].remarks[0]
    assert int(rough.history_[1].bought.min()) >= 9  # a tenth of 1,152, over 12 sources
    assert not active(problem)[0].history_[1].remarks
    full = strong_and_weak(0, inputs=10, rank=3, tasks=3)
    sampler = SourceSampler(full, 0)
    unique = ActiveMTRL(LinearMTRL(3), 300, tasks=3, explore=0.3).fit(sampler, sampler(-1, 50))
    assert "as many sources as features" in unique.history_[1].remarks[0]


def test_the_exploration_may_be_left_out_of_the_end(problem: LinearSources) -> None:
    model, _ = active(problem, reuse=False, minimum=40)
    bought = model.history_[1].bought
    assert not model.learner_.heads[:, bought == 0].any() and model.learner_.heads[:, bought > 0].all()


def test_it_has_scikit_learns_manners(problem: LinearSources) -> None:
    model, _ = active(problem)
    again = clone(model)
    sampler = SourceSampler(problem, 0)
    again.fit(sampler, sampler(-1, 200))
    assert torch.equal(again.head_, model.head_) and torch.equal(again.allocation_, model.allocation_)
    assert model.get_params(deep=False)["budget"] == 1_200


def test_relevances_are_estimated_by_the_rule_s_norm() -> None:
    W, w = torch.randn(3, 9).double(), torch.randn(3).double()
    torch.testing.assert_close(estimate_relevance(W, w), relevance(W, w))
    torch.testing.assert_close(estimate_relevance(W, w, "l2"), relevance(W, w, 2))
    assert estimate_relevance(W, w, "uniform").tolist() == [1.0] * 9
    torch.testing.assert_close(estimate_relevance(W, w, penalty=1e6), relevance(W, w))  # nothing is left: the linear program


def test_a_cross_validated_penalty_drops_noise_in_the_target() -> None:
    problem = strong_and_weak(1, inputs=8, rank=3, tasks=8, noise=2.0)
    sampler = SourceSampler(problem, 1)
    learner = LinearMTRL(3)
    learner.fit_tasks([sampler(task, 400) for task in range(8)])
    X, y = sampler(-1, 40)
    found = choose_penalty(learner, X, y)
    largest = float((learner.heads.mT @ learner.fit_head(X, y)[0]).abs().max())
    assert 1e-4 * largest * 0.99 <= found < largest
    with pytest.raises(InputError, match="5 samples of the target or more"):
        choose_penalty(learner, X[:4], y[:4])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 59, "minimum": 5}, "take 60, and the budget is 59"),
        ({"budget": 30}, "gives none to some"),
        ({"rule": "l0"}, "unknown rule"),
        ({"share": "some"}, "unknown share"),
        ({"rounds": 0}, "at least one round"),
        ({"explore": 1.0}, "explore lies in"),
        ({"penalty": "often"}, "'auto' or 'cv'"),
        ({"penalty": -1.0}, "0 or more"),
        ({"k_tasks": 13}, "1 to 12 can be chosen"),
        ({"costs": -torch.ones(TASKS)}, "12 positive numbers"),
    ],
)
def test_bad_arguments_are_refused(problem: LinearSources, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        active(problem, **options)


def test_a_target_without_samples_and_a_sampler_that_runs_dry_are_refused(problem: LinearSources) -> None:
    model = ActiveMTRL(LinearMTRL(3), 600, tasks=TASKS)
    with pytest.raises(InputError, match="the target has no samples"):
        model.fit(SourceSampler(problem, 0), (torch.zeros(0, 10), torch.zeros(0)))

    def dry(task: int, n: int) -> tuple[Tensor, Tensor]:
        X, y = SourceSampler(problem, 0)(task, n)
        return X[:3], y[:3]

    with pytest.raises(InputError, match="gave 3 samples of source 0 where 5 were paid for"):
        model.fit(dry, SourceSampler(problem, 0)(-1, 20))
    with pytest.raises(InputError, match="2 tasks share has 1 to 2 features, not 3"):
        ActiveMTRL(LinearMTRL(3), 600, tasks=2).fit(SourceSampler(problem, 0), SourceSampler(problem, 0)(-1, 20))
