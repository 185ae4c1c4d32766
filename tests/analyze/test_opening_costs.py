from itertools import combinations

import pytest
import torch
from torch import Tensor

from ordinate.analyze.opening_costs import plan_openings
from ordinate.analyze.relevance import relevance
from ordinate.ground.errors import InputError


def instance(seed: int, K: int = 3, T: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    W, w = torch.randn(K, T, dtype=torch.float64, generator=chance), torch.randn(K, dtype=torch.float64, generator=chance)
    opening = float(relevance(W, w).abs().sum()) ** 2 * torch.rand(T, dtype=torch.float64, generator=chance)
    return W, w, opening


def by_subsets(W: Tensor, w: Tensor, opening: Tensor, root: Tensor) -> float:
    """The cheapest over all sets of opened sources of any size, each by its own linear program."""
    best = float("inf")
    for size in range(1, W.shape[1] + 1):
        for chosen in combinations(range(W.shape[1]), size):
            part = W[:, list(chosen)]
            if torch.linalg.matrix_rank(part) < len(W):
                continue
            price = root[list(chosen)]
            nu = relevance(part, w, costs=price.square())
            best = min(best, float(opening[list(chosen)].sum() + (price * nu.abs()).sum() ** 2))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_the_best_basis_is_the_best_of_all_sets(seed: int) -> None:
    W, w, opening = instance(seed, K=2, T=6)
    root = torch.linspace(0.5, 2, 6, dtype=torch.float64)
    plan = plan_openings(W, w, 1.0, opening, costs=root.square())
    assert plan.exhaustive and plan.cost == pytest.approx(by_subsets(W, w, opening, root))
    assert float((W @ plan.relevance - w).abs().max()) < 1e-8
    assert plan.bound <= plan.cost and plan.gap == pytest.approx((plan.cost - plan.bound) / plan.cost)
    # the samples carry no more noise than asked, and cost what the plan says
    used = plan.relevance != 0
    assert float((plan.relevance[used].square() / plan.samples[used]).sum()) == pytest.approx(1.0)
    assert float(opening[used].sum() + (root.square() * plan.samples).sum()) == pytest.approx(plan.cost)


def test_step_by_step_is_as_cheap_on_small_instances() -> None:
    same = 0
    for seed in range(12):
        W, w, opening = instance(seed)
        best, found = (plan_openings(W, w, 1.0, opening, exhaustive=every).cost for every in (True, False))
        assert found >= best * (1 - 1e-9)
        same += found <= best * (1 + 1e-9)
    assert same >= 11


def test_free_openings_are_the_linear_program() -> None:
    W, w, _ = instance(5)
    nu = relevance(W, w)
    for every in (True, False):
        plan = plan_openings(W, w, 0.5, torch.zeros(9), exhaustive=every)
        assert plan.cost == pytest.approx(float(nu.abs().sum()) ** 2 / 0.25) and plan.gap == pytest.approx(0, abs=1e-9)


def test_dear_openings_leave_one_source_where_one_will_do() -> None:
    W = torch.eye(2, 5, dtype=torch.float64)
    W[:, 2:] = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.4, 0.1]])
    w = torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert int((plan_openings(W, w, 1.0, torch.zeros(5)).relevance != 0).sum()) == 2
    for every in (True, False):
        plan = plan_openings(W, w, 1.0, torch.full((5,), 10.0), exhaustive=every)
        assert torch.nonzero(plan.relevance.abs() > 1e-9)[:, 0].tolist() in ([2], [0, 1]) and plan.cost == pytest.approx(14.0)


def test_a_target_in_a_part_of_the_space() -> None:
    W, w = torch.zeros(3, 6, dtype=torch.float64), torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    W[:2] = instance(1, K=2, T=6)[0]
    plan = plan_openings(W, w, 1.0, torch.ones(6), project=True)
    torch.testing.assert_close(W @ plan.relevance, torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), atol=1e-8, rtol=0)
    with pytest.raises(InputError, match="lies outside"):
        plan_openings(W, w, 1.0, torch.ones(6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"opening": -torch.ones(9)}, "0 or more"),
        ({"opening": torch.ones(8)}, "9 numbers"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"costs": torch.zeros(9)}, "9 positive numbers"),
        ({"w": torch.zeros(3, dtype=torch.float64)}, "head is zero"),
    ],
)
def test_bad_input_is_refused(change: dict, words: str) -> None:
    W, w, opening = instance(0)
    with pytest.raises(InputError, match=words):
        plan_openings(**{"W": W, "w": w, "eps": 1.0, "opening": opening, **change})
