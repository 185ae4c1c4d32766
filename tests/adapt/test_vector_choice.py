import pytest
import torch
from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.disentanglement import disentanglement_matrix
from ordinate.adapt.random_bases import random_bases
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.adapt.vector_choice import (
    choose_at_random,
    choose_blocks_by_gradient,
    choose_by_features,
    choose_by_gradient,
    coefficient_gradients,
    mean_feature,
)
from ordinate.data.batches import Subset
from ordinate.ground.errors import InputError
from tests.adapt.small import bank_of, clusters, network, task_of


def test_one_backward_pass_gives_the_gradients_of_all_coefficients() -> None:
    model, x = network(), torch.randn(5, 4)
    bank = bank_of(model, 5)
    composed = ComposedModel(model, bank)
    composed(x).square().sum().backward()
    model.requires_grad_(False)
    found = coefficient_gradients(model, bank, lambda judged: judged(x).square().sum())
    torch.testing.assert_close(found, composed.coef.grad, atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters()) and all(
        parameter.grad is None for parameter in model.parameters()
    )


def test_the_largest_gradients_are_chosen_whole_or_block_by_block() -> None:
    bank = TaskBank(
        {
            name: TaskVector({"a": torch.full((2,), float(number)), "b": torch.full((3,), 10.0 * number)})
            for number, name in enumerate("xyz", 1)
        }
    )
    gradients = torch.tensor([[5.0, 0.0], [-1.0, 3.0], [0.0, -4.0]])
    assert set(choose_by_gradient(bank, 2, gradients)) == {"x", "y"} or set(choose_by_gradient(bank, 2, gradients)) == {"x", "z"}
    assert list(choose_by_gradient(bank, 1, gradients)) == ["x"]
    virtual = choose_blocks_by_gradient(bank, 2, gradients, ["a", "b"])
    assert [float(vector["a"][0]) for vector in virtual.values()] == [1.0, 2.0]
    assert [float(vector["b"][0]) for vector in virtual.values()] == [30.0, 20.0]


def test_similar_features_are_chosen_and_chance_is_seeded() -> None:
    bank = bank_of(network(), 4)
    features = {name: torch.eye(4)[number] for number, name in enumerate(bank)}
    assert set(choose_by_features(bank, 2, features, torch.tensor([0.1, 2.0, 0.0, 1.0]))) == {"task 1", "task 3"}
    assert list(choose_at_random(bank, 2, 3)) == list(choose_at_random(bank, 2, 3))
    assert len({tuple(choose_at_random(bank, 1, seed)) for seed in range(20)}) == 4


def test_the_mean_feature_is_the_mean() -> None:
    model, source = network(), clusters(30)
    torch.testing.assert_close(mean_feature(model, source), model(source.tensors["image"]).mean(dim=0))
    with pytest.raises(InputError, match="no rows"):
        mean_feature(model, Subset(source, torch.arange(0)))


@pytest.mark.parametrize("budget", [0, 4])
def test_a_budget_is_within_the_bank(budget: int) -> None:
    bank = bank_of(network())
    for choose in (
        lambda: choose_at_random(bank, budget),
        lambda: choose_by_gradient(bank, budget, torch.ones(3, 2)),
        lambda: choose_by_features(bank, budget, {}, torch.ones(2)),
        lambda: choose_blocks_by_gradient(bank, budget, torch.ones(3, 2), ["a", "b"]),
    ):
        with pytest.raises(InputError, match=f"between 1 and the 3 vectors of the bank, not {budget}"):
            choose()


def test_what_does_not_fit_the_bank_is_named() -> None:
    bank = bank_of(network())
    with pytest.raises(InputError, match="no features of task 0"):
        choose_by_features(bank, 1, {}, torch.ones(2))
    with pytest.raises(InputError, match="gradients of 2 blocks and names of 1"):
        choose_blocks_by_gradient(bank, 1, torch.ones(3, 2), ["a"])
    with pytest.raises(InputError, match="the task vectors lack weight, bias"):
        coefficient_gradients(nn.Linear(2, 2), bank, lambda judged: judged(torch.ones(1, 2)).sum())


def test_random_bases_have_the_moments_of_the_weights() -> None:
    theta0 = {"w": 3 + 0.5 * torch.randn(4000), "one": torch.ones(1), "count": torch.tensor(3)}
    bank = random_bases(theta0, 2, seed=1)
    assert set(bank["0"]) == {"w", "one"} and not torch.equal(bank["0"]["w"], bank["1"]["w"])
    assert float(bank["0"]["w"].mean()) == pytest.approx(3, abs=0.05) and float(bank["0"]["w"].std()) == pytest.approx(0.5, rel=0.1)
    assert torch.equal(bank["0"]["w"], random_bases(theta0, 1, seed=1)["0"]["w"])
    with pytest.raises(InputError, match="at least one basis"):
        random_bases(theta0, 0)


def test_disentanglement_counts_the_predictions_that_another_vector_changes() -> None:
    model = network().eval()
    bank, tasks = bank_of(model, 2, size=1.0), [task_of("a"), task_of("b", 1.0)]
    silent = TaskVector({name: torch.zeros_like(entry) for name, entry in bank["task 0"].items()})
    found = disentanglement_matrix(model, [bank["task 0"], silent], tasks)
    x = tasks[1].check.tensors["image"]
    moved = ComposedModel(model, {"it": bank["task 0"]}, "scalar")
    with torch.no_grad():
        moved.coef.fill_(1.0)
    changed = (tasks[1].head(moved(x)).argmax(1) != tasks[1].head(model(x)).argmax(1)).double().mean()
    assert found.diagonal().eq(0).all() and found[0, 1] == 0
    torch.testing.assert_close(found[1, 0], changed)
    assert changed > 0
    linear = disentanglement_matrix(model, [bank["task 0"], silent], tasks, linearised=True)
    assert linear[0, 1] == 0 and linear[1, 0] > 0
    with pytest.raises(InputError, match="one scaled vector a task"):
        disentanglement_matrix(model, [silent], tasks)
