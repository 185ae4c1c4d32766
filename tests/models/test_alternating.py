from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.alternating import fit_representation
from ordinate.models.task_moments import TaskMoments


def problem(counts: list[int], d: int, K: int, noise: float, seed: int = 0) -> tuple[TaskMoments, Tensor, list[tuple[Tensor, Tensor]]]:
    chance = torch.Generator().manual_seed(seed)
    B = torch.linalg.qr(torch.randn(d, K, dtype=torch.float64, generator=chance)).Q
    moments, samples = TaskMoments(len(counts), d), []
    for task, count in enumerate(counts):
        X = torch.randn(count, d, dtype=torch.float64, generator=chance)
        y = X @ B @ torch.randn(K, dtype=torch.float64, generator=chance) + noise * torch.randn(
            count, dtype=torch.float64, generator=chance
        )
        moments.add(task, X, y)
        samples.append((X, y))
    return moments, B, samples


def loss(samples: list[tuple[Tensor, Tensor]], B: Tensor, W: Tensor) -> float:
    return sum(float((X @ B @ W[:, task] - y).square().sum()) for task, (X, y) in enumerate(samples))


@given(
    st.lists(st.integers(0, 12), min_size=3, max_size=6).filter(any),
    st.integers(1, 3),
    st.integers(3, 6),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_no_round_raises_the_loss(counts: list[int], K: int, d: int, direct: bool, seed: int) -> None:
    moments, _, samples = problem(counts, d, K, 0.3, seed)
    found = fit_representation(moments, K, rounds=12, direct=direct)
    assert all(after <= before * (1 + 1e-7) + 1e-7 for before, after in pairwise(found.losses))
    assert found.losses[-1] == pytest.approx(loss(samples, found.B, found.W), abs=1e-5, rel=1e-5)
    torch.testing.assert_close(found.B.mT @ found.B, torch.eye(K, dtype=torch.float64), atol=1e-9, rtol=0)
    assert all(not found.W[:, task].any() for task, count in enumerate(counts) if not count)


@pytest.mark.parametrize("direct", [True, False])
def test_without_noise_the_space_is_recovered(direct: bool) -> None:
    moments, B, _ = problem([6] * 12, 10, 3, 0.0)  # 72 samples of 30 + 36 - 9 unknowns, fewer than inputs in each task
    found = fit_representation(moments, 3, rounds=400, tolerance=0.0, ridge=0.0, direct=direct)
    assert float((B - found.B @ (found.B.mT @ B)).norm()) < 1e-6


def test_gradients_vanish_at_the_end() -> None:
    moments, _, samples = problem([40, 60, 50, 30], 6, 2, 0.5)
    found = fit_representation(moments, 2, rounds=300, tolerance=0.0, ridge=0.0)
    B, W = found.B.clone().requires_grad_(), found.W.clone().requires_grad_()
    sum((X @ B @ W[:, task] - y).square().sum() for task, (X, y) in enumerate(samples)).backward()
    assert float(B.grad.abs().max()) < 1e-5 and float(W.grad.abs().max()) < 1e-8


def test_all_features_give_ordinary_least_squares() -> None:
    moments, _, samples = problem([50, 60], 2, 2, 1.0)
    found = fit_representation(moments, 2)
    for task, (X, y) in enumerate(samples):
        torch.testing.assert_close(found.B @ found.W[:, task], torch.linalg.lstsq(X, y[:, None]).solution[:, 0], atol=1e-6, rtol=1e-6)


def test_a_start_is_taken_up_and_new_samples_go_on_from_it() -> None:
    moments, _, _ = problem([30] * 6, 8, 2, 0.1)
    cold = fit_representation(moments, 2, tolerance=1e-12, rounds=200)
    warm = fit_representation(moments, 2, start=cold.B)
    assert warm.losses[0] == pytest.approx(cold.losses[-1], rel=1e-6) and len(warm.losses) <= 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_representation(TaskMoments(3, 4), 2), "there are none"),
        (lambda: fit_representation(problem([5, 5], 4, 2, 0.0)[0], 5), "has 1 to 4 features, not 5"),
        (lambda: fit_representation(problem([5, 5], 4, 2, 0.0)[0], 2, start=torch.zeros(3, 2)), r"the start is \(4, 2\)"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
